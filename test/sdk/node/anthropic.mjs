// Anthropic's SDK for Node, set up as a user would, by ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY alone. The newest major and the
// one before it have a file each, which names what is not the same in both.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { z } from 'zod';

import { calls, cancelledSince, everywhere, failure, lastCall, pixel, sent, troubles } from './judge.mjs';

const user = (content) => [{ role: 'user', content }];
const Weather = z.object({ city: z.string(), days: z.number().int() });
const weather = {
  name: 'weather', description: 'Get the weather of a city.',
  input_schema: { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } }, required: ['city', 'days'] },
};
const Solution = z.object({ answer: z.string(), sure: z.boolean() });

/**
 * All tests of one version of the SDK.
 *
 * sdk: what it exports; zodOutputFormat, betaZodTool: its helpers; version: that of the API; classes: of errors, by status;
 * threads: whether loops over tools let the provider hold the conversation.
 */
export function suite({ sdk: Anthropic, zodOutputFormat, betaZodTool, version, classes, betaPath, threads }) {
  const client = new Anthropic();
  const ask = (model, content, more = {}) =>
    client.messages.create({ model, max_tokens: 200, system: 'Be brief.', messages: user(content), ...more });
  const checkWeather = (block) => {
    assert.deepEqual([block.type, block.name], ['tool_use', 'weather']);
    assert.ok(block.id);
    Weather.parse(block.input);
  };

  everywhere('plain', async (model, dialect) => {
    const { data: message, response } = await ask(model, 'echo:Hello, "wörld"\n✓').withResponse();
    assert.deepEqual(message.content.map((b) => [b.type, b.text]), [['text', 'Hello, "wörld"\n✓']]);
    assert.deepEqual([message.stop_reason, message.model, message.role, message.type], ['end_turn', model, 'assistant', 'message']);
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
    assert.ok(message._request_id);
    assert.equal(response.headers.get('x-penstock-target'), `${dialect}/chat-1`);
    if (dialect === 'anthropic') assert.deepEqual((await sent()).header['Anthropic-Version'], [version]);
  });

  everywhere('cut at the limit', async (model) => {
    const message = await ask(model, 'echo:one two three four five', { max_tokens: 3 });
    assert.deepEqual([message.stop_reason, message.usage.output_tokens], ['max_tokens', 3]);
  });

  everywhere('raw stream', async (model) => {
    const kinds = [];
    let text = '';
    for await (const event of await ask(model, 'echo:one two three', { stream: true })) {
      kinds.push(event.type);
      if (event.type === 'content_block_delta') text += event.delta.text;
    }
    assert.equal(text, 'one two three');
    assert.deepEqual([kinds[0], ...kinds.slice(-2)], ['message_start', 'message_delta', 'message_stop']);
  });

  everywhere('stream by the helper', async (model) => {
    const stream = client.messages.stream({ model, max_tokens: 200, messages: user('echo:one two three') });
    let text = '';
    stream.on('text', (delta) => { text += delta; });
    const final = await stream.finalMessage();
    assert.deepEqual([text, await stream.finalText()], ['one two three', 'one two three']);
    assert.deepEqual([final.stop_reason, final.model, final.usage.output_tokens], ['end_turn', model, 3]);
    assert.ok(final.usage.input_tokens > 0);
  });

  everywhere('reasoning', async (model) => {
    const plain = await ask(model, 'echo:so');
    assert.deepEqual(plain.content.map((b) => b.type), ['thinking', 'text']);
    const stream = client.messages.stream({ model, max_tokens: 200, messages: user('echo:so') });
    let thought = '';
    stream.on('thinking', (delta) => { thought += delta; });
    const final = await stream.finalMessage();
    assert.deepEqual(final.content.map((b) => b.type), ['thinking', 'text']);
    assert.equal(final.content[0].thinking, thought);
    // It goes back as it came.
    const again = await client.messages.create({
      model, max_tokens: 200, messages: [...user('echo:so'), { role: 'assistant', content: final.content }, ...user('echo:and so on')],
    });
    assert.equal(again.content.at(-1).text, 'and so on');
  }, { situation: 'thinking' });

  describe('tools', () => {
    everywhere('call and result', async (model) => {
      const first = await ask(model, 'call:weather', { tools: [weather] });
      assert.equal(first.stop_reason, 'tool_use');
      const call = first.content.at(-1);
      checkWeather(call);
      const result = [{ type: 'tool_result', tool_use_id: call.id, content: 'sunny' }, { type: 'text', text: 'echo:sunny' }];
      const second = await client.messages.create({
        model, max_tokens: 200, tools: [weather],
        messages: [...user('call:weather'), { role: 'assistant', content: first.content }, ...user(result)],
      });
      assert.deepEqual([second.content[0].text, second.stop_reason], ['sunny', 'end_turn']);
    });

    everywhere('must be called', async (model) => {
      for (const tool_choice of [{ type: 'any' }, { type: 'tool', name: 'weather' }]) {
        checkWeather((await ask(model, 'Hi', { tools: [weather], tool_choice })).content.at(-1));
      }
    });

    everywhere('arguments streamed', async (model) => {
      let pieces = '';
      let snapshot;
      const stream = client.messages.stream({ model, max_tokens: 200, tools: [weather], messages: user('call:weather') });
      stream.on('inputJson', (piece, so) => { pieces += piece; snapshot = so; });
      const final = await stream.finalMessage();
      checkWeather(final.content.at(-1));
      assert.deepEqual(JSON.parse(pieces), final.content.at(-1).input);
      assert.deepEqual(snapshot, final.content.at(-1).input);
    });

    everywhere('parallel calls and their results', async (model, dialect) => {
      const plain = await ask(model, 'weather', { tools: [weather] });
      const streamed = await client.messages.stream({ model, max_tokens: 200, tools: [weather], messages: user('weather') }).finalMessage();
      for (const message of [plain, streamed]) {
        const uses = message.content.filter((b) => b.type === 'tool_use');
        assert.deepEqual([uses.length, new Set(uses.map((u) => u.id)).size, message.stop_reason], [2, 2, 'tool_use']);
        uses.forEach(checkWeather);
        const results = [
          { type: 'tool_result', tool_use_id: uses[0].id, content: [{ type: 'text', text: 'sunny' }] },
          { type: 'tool_result', tool_use_id: uses[1].id, content: 'no such city', is_error: true },
        ];
        const answer = await client.messages.create({
          model: `chat-${dialect}`, max_tokens: 200, tools: [weather],
          messages: [...user('weather'), { role: 'assistant', content: message.content }, ...user([...results, { type: 'text', text: 'echo:done' }])],
        });
        assert.equal(answer.content[0].text, 'done');
      }
    }, { situation: 'two-calls' });

    everywhere('the loop of the helper', async (model, dialect) => {
      const asked = [];
      const tool = betaZodTool({
        name: 'weather', description: 'Get the weather of a city.', inputSchema: Weather, run: (input) => { asked.push(input); return 'sunny'; },
      });
      // Where the provider is asked to hold the conversation and refuses to, the SDK goes on without. The simulated provider of
      // this dialect does not know what it is asked.
      const more = threads && dialect === 'anthropic' ? { thread: false } : {};
      const runner = client.beta.messages.toolRunner({
        model, max_tokens: 200, tools: [tool], messages: user('call:weather'), max_iterations: 2, ...more,
      });
      const turns = [];
      for await (const turn of runner) turns.push(turn.stop_reason);
      assert.deepEqual([turns.length, turns[0]], [2, 'tool_use']);
      Weather.parse(asked[0]);
    });
  });

  everywhere('structured output', async (model) => {
    const body = { model, max_tokens: 200, messages: user('solve'), output_config: { format: zodOutputFormat(Solution) } };
    Solution.parse((await client.messages.parse(body)).parsed_output);
    Solution.parse((await client.messages.stream(body).finalMessage()).parsed_output);
  });

  everywhere('image and document', async (model) => {
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } };
    const document = { type: 'document', title: 'A plan', source: { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0xLjQK' } };
    const message = await ask(model, [image, document, { type: 'text', text: 'echo:seen' }]);
    assert.equal(message.content[0].text, 'seen');
    const { body } = await sent();
    assert.ok(body.includes(pixel) && body.includes('JVBERi0xLjQK'));
  });

  everywhere('count tokens', async (model) => {
    const short = await client.messages.countTokens({ model, messages: user('Hi') });
    const long = await client.messages.countTokens({ model, system: 'Be brief.', tools: [weather], messages: user('How many are these? '.repeat(20)) });
    assert.ok(short.input_tokens > 0);
    assert.ok(long.input_tokens > short.input_tokens + 80);
  });

  everywhere('betas', async (model, dialect) => {
    const body = { model, max_tokens: 200, messages: user('echo:hi'), betas: ['a-2026-01-01', 'b-2026-02-02'] };
    const message = await client.beta.messages.create(body);
    assert.equal(message.content[0].text, 'hi');
    if (dialect === 'anthropic') {
      const request = await sent();
      assert.deepEqual(request.header['Anthropic-Beta'], ['a-2026-01-01,b-2026-02-02']);
      assert.ok(request.path.endsWith(betaPath), request.path);
    }
    assert.equal((await client.beta.messages.stream(body).finalMessage()).content[0].text, 'hi');
    assert.ok((await client.beta.messages.countTokens({ model, messages: user('Hi') })).input_tokens > 0);
  });

  test('models', async () => {
    const models = [];
    for await (const model of client.models.list({ limit: 20 })) models.push(model);
    assert.ok(models.every((m) => m.type === 'model' && m.display_name && m.created_at));
    assert.ok(models.some((m) => m.id === 'chat-gemini'));
    assert.equal((await client.models.retrieve('chat-gemini')).id, 'chat-gemini');
    assert.ok((await failure(client.models.retrieve('no-such-model'))) instanceof Anthropic.NotFoundError);
  });

  // With the SDK's own retries on, as a user has them: after Penstock has used up its tries, the SDK must not add any.
  describe('errors', () => {
    const check = (error, outcome) => {
      assert.ok(error instanceof classes[outcome.status], String(error));
      assert.deepEqual([error.status, error.error.error.type], [outcome.status, outcome.type]);
      assert.ok(error.message.includes(outcome.says), error.message);
      assert.equal(error.requestID, error.headers.get('x-request-id'));
      assert.equal(error.headers.has('retry-after'), outcome.retry_after);
    };
    describe('plain', () => troubles('anthropic', (model) => ask(model, 'say:3'), check));
    describe('streamed', () => troubles('anthropic', (model) => ask(model, 'say:3', { stream: true }), check));

    everywhere('a spent budget is not tried again', async (model) => {
      let asked = 0;
      const counting = new Anthropic({ fetch: (...request) => { asked += 1; return fetch(...request); } });
      const error = await failure(counting.messages.create({ model, max_tokens: 20, messages: user('say:3') }));
      assert.ok(error instanceof Anthropic.RateLimitError, String(error));
      assert.deepEqual([error.error.error.details.error_code, error.error.error.details.penstock.free_nano, asked], ['insufficient_quota', 0, 1]);
    }, { situation: 'spent' });

    everywhere('rate limits', async (model) => {
      const { response } = await ask(model, 'say:3').withResponse();
      assert.equal(response.headers.get('anthropic-ratelimit-requests-limit'), '100000');
      assert.ok(Number(response.headers.get('anthropic-ratelimit-requests-remaining')) < 100000);
    });

    test('unknown key', async () => {
      const error = await failure(new Anthropic({ apiKey: 'psk_wrong' }).messages.create({ model: 'chat-anthropic', max_tokens: 9, messages: user('Hi') }));
      assert.ok(error instanceof Anthropic.AuthenticationError, String(error));
      assert.equal(error.error.error.type, 'authentication_error');
    });

    test('unknown model', async () => {
      const error = await failure(ask('chat-openia', 'Hi'));
      assert.ok(error instanceof Anthropic.NotFoundError, String(error));
      assert.match(error.message, /chat-openai/);
    });

    everywhere('bad request', async (model) => {
      const error = await failure(ask(model, 'Hi', { messages: 'hello' }));
      assert.ok(error instanceof Anthropic.BadRequestError, String(error));
      assert.match(error.message, /messages/);
    });

    test('too large', async () => {
      const error = await failure(ask('chat-anthropic', 'x'.repeat(1_100_000)));
      assert.deepEqual([error instanceof classes[413], error.status], [true, 413]);
    });

    everywhere('fallback hides a failure', async (model, dialect) => {
      const before = await calls('mended', dialect);
      const { data, response } = await ask(model, 'echo:well').withResponse();
      assert.deepEqual([data.content[0].text, response.headers.get('x-penstock-tries')], ['well', '2']);
      assert.equal((await calls('mended', dialect)) - before, 2);
    }, { situation: 'mended' });

    for (const situation of ['cut', 'erring']) {
      everywhere(`a stream that is ${situation} raises`, async (model) => {
        let text = '';
        const error = await failure((async () => {
          for await (const event of await ask(model, 'say:9', { stream: true })) if (event.type === 'content_block_delta') text += event.delta.text;
        })());
        assert.ok(error instanceof Anthropic.APIError, String(error));
        assert.ok(text, 'what came before is there');
        const helped = await failure(client.messages.stream({ model, max_tokens: 20, messages: user('say:9') }).finalMessage());
        assert.ok(helped instanceof Anthropic.APIError, String(helped));
      }, { situation });
    }
  });

  describe('abort', () => {
    everywhere('in mid stream', async (model, dialect) => {
      const seq = await lastCall();
      const stream = client.messages.stream({ model, max_tokens: 4000, messages: user('go') });
      let seen = 0;
      let left = 0;
      stream.on('text', () => {
        if (++seen === 3) {
          left = Date.now();
          stream.abort();
        }
      });
      assert.ok((await failure(stream.finalMessage())) instanceof Anthropic.APIUserAbortError);
      assert.ok((await cancelledSince('slow', dialect, seq)) - left <= 1000);
    }, { situation: 'slow' });

    everywhere('by leaving the loop', async (model, dialect) => {
      const seq = await lastCall();
      let left = 0;
      for await (const event of await ask(model, 'go', { stream: true, max_tokens: 4000 })) {
        if (event.type !== 'content_block_delta') continue;
        left = Date.now();
        break;
      }
      assert.ok((await cancelledSince('slow', dialect, seq)) - left <= 1000);
    }, { situation: 'slow' });

    everywhere('before the first token', async (model, dialect) => {
      const seq = await lastCall();
      const controller = new AbortController();
      const outcome = failure(client.messages.create({ model, max_tokens: 20, messages: user('go') }, { signal: controller.signal }));
      await sleep(200);
      const left = Date.now();
      controller.abort();
      assert.ok((await outcome) instanceof Anthropic.APIUserAbortError);
      assert.ok((await cancelledSince('silent', dialect, seq)) - left <= 1000);
    }, { situation: 'silent' });

    everywhere('by a timeout', async (model, dialect) => {
      const seq = await lastCall();
      const error = await failure(client.messages.create({ model, max_tokens: 20, messages: user('go') }, { timeout: 200, maxRetries: 0 }));
      const left = Date.now();
      assert.ok(error instanceof Anthropic.APIConnectionTimeoutError, String(error));
      assert.ok((await cancelledSince('silent', dialect, seq)) - left <= 1000);
    }, { situation: 'silent' });
  });
}
