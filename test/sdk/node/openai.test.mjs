// OpenAI's SDK for Node, set up as a user would, by OPENAI_BASE_URL and OPENAI_API_KEY alone.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import OpenAI from 'openai';
import { LengthFinishReasonError } from 'openai/error';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { calls, cancelledSince, everywhere, failure, lastCall, pixel, sent, troubles } from './judge.mjs';

const client = new OpenAI();

const user = (text) => [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: text },
];

const ask = (model, more = {}) => client.chat.completions.create({ model, messages: user('say:3'), ...more });

const Weather = z.object({ city: z.string(), days: z.number().int() });
const weather = zodFunction({ name: 'weather', parameters: Weather });
const Solution = z.object({ steps: z.array(z.object({ explanation: z.string(), output: z.string() })), answer: z.string() });
const solution = zodResponseFormat(Solution, 'solution');

describe('chat', () => {
  everywhere('plain', async (model) => {
    const answer = await client.chat.completions.create({ model, messages: user('echo:Hello, "wörld"\n✓') });
    assert.equal(answer.choices[0].message.content, 'Hello, "wörld"\n✓');
    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.equal(answer.model, model);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    assert.ok(answer._request_id);
  });

  everywhere('headers', async (model, dialect) => {
    const { data, response } = await ask(model).withResponse();
    assert.equal(response.headers.get('x-penstock-target'), `${dialect}/chat-1`);
    assert.equal(response.headers.get('x-penstock-tries'), '1');
    assert.ok(Number(response.headers.get('x-penstock-cost')) > 0);
    assert.equal(data.usage.completion_tokens, 3);
  });

  test('several choices with logprobs', async () => {
    const answer = await ask('chat-openai', { n: 2, logprobs: true, top_logprobs: 2 });
    assert.deepEqual(answer.choices.map((c) => c.index), [0, 1]);
    assert.equal(answer.choices[1].logprobs.content[0].top_logprobs.length, 2);
  });

  everywhere('stream', async (model) => {
    let text = '';
    let finish = null;
    for await (const event of await client.chat.completions.create({ model, messages: user('echo:one two three'), stream: true })) {
      assert.equal(event.model, model);
      assert.ok(!event.usage, 'usage, though it was not asked for');
      text += event.choices[0]?.delta.content ?? '';
      finish = event.choices[0]?.finish_reason ?? finish;
    }
    assert.deepEqual([text, finish], ['one two three', 'stop']);
  });

  everywhere('stream with usage', async (model) => {
    const events = [];
    for await (const event of await ask(model, { stream: true, stream_options: { include_usage: true } })) events.push(event);
    assert.deepEqual(events.at(-1).choices, []);
    assert.equal(events.at(-1).usage.completion_tokens, 3);
    assert.ok(events.slice(0, -1).every((e) => !e.usage));
  });

  everywhere('stream by the helper', async (model) => {
    const stream = client.chat.completions.stream({ model, messages: user('echo:a b c') });
    const deltas = [];
    stream.on('content', (delta) => deltas.push(delta));
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices[0].message.content, 'a b c');
    assert.equal(deltas.join(''), 'a b c');
  });
});

describe('tools', () => {
  everywhere('plain', async (model) => {
    const answer = await client.chat.completions.create({ model, messages: user('call:weather'), tools: [weather] });
    assert.equal(answer.choices[0].finish_reason, 'tool_calls');
    const call = answer.choices[0].message.tool_calls[0];
    assert.equal(call.function.name, 'weather');
    Weather.parse(JSON.parse(call.function.arguments));
  });

  everywhere('result goes back', async (model) => {
    const first = await client.chat.completions.create({ model, messages: user('call:weather'), tools: [weather] });
    const message = first.choices[0].message;
    const second = await client.chat.completions.create({
      model,
      messages: [...user('echo:sunny'), message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'sunny' }, { role: 'user', content: 'echo:sunny' }],
    });
    assert.equal(second.choices[0].message.content, 'sunny');
  });

  everywhere('parallel calls streamed by the helper', async (model) => {
    const done = [];
    const stream = client.chat.completions.stream({ model, messages: user('weather'), tools: [weather] });
    stream.on('tool_calls.function.arguments.done', (event) => done.push(event.parsed_arguments));
    const final = await stream.finalChatCompletion();
    assert.equal(done.length, 2);
    done.forEach((d) => Weather.parse(d));
    assert.equal(final.choices[0].message.tool_calls.length, 2);
    assert.equal(final.choices[0].finish_reason, 'tool_calls');
  }, { situation: 'two-calls' });
});

everywhere('image', async (model) => {
  const content = [{ type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } }, { type: 'text', text: 'echo:a pixel' }];
  const answer = await client.chat.completions.create({ model, messages: [{ role: 'user', content }] });
  assert.equal(answer.choices[0].message.content, 'a pixel');
  assert.ok((await sent()).body.includes(pixel));
});

describe('structured output', () => {
  everywhere('parse', async (model) => {
    const answer = await client.chat.completions.parse({ model, messages: user('solve'), response_format: solution });
    Solution.parse(answer.choices[0].message.parsed);
  });

  everywhere('streamed', async (model) => {
    const stream = client.chat.completions.stream({ model, messages: user('solve'), response_format: solution });
    const final = await stream.finalChatCompletion();
    Solution.parse(final.choices[0].message.parsed);
  });

  everywhere('cut at the limit', async (model) => {
    const error = await failure(
      client.chat.completions.parse({ model, messages: user('solve'), response_format: solution, max_tokens: 2 }),
    );
    assert.ok(error instanceof LengthFinishReasonError, String(error));
  });
});

describe('embeddings', () => {
  everywhere('the default form and floats agree', async (model) => {
    const input = ['water', 'a gate above'];
    const byDefault = await client.embeddings.create({ model, input }); // asks for base64 and decodes it
    const floats = await client.embeddings.create({ model, input, encoding_format: 'float' });
    assert.deepEqual(byDefault.data.map((d) => d.index), [0, 1]);
    byDefault.data.forEach((d, i) => {
      assert.equal(d.embedding.length, 16);
      d.embedding.forEach((x, k) => assert.ok(Math.abs(x - floats.data[i].embedding[k]) < 1e-6));
    });
  }, { situation: 'embed' });

  test('one text and tokens', async () => {
    assert.equal((await client.embeddings.create({ model: 'embed-openai', input: 'water' })).data.length, 1);
    assert.equal((await client.embeddings.create({ model: 'embed-openai', input: [1, 2, 3] })).data.length, 1);
    assert.equal((await client.embeddings.create({ model: 'embed-openai', input: [[1, 2], [3]] })).data.length, 2);
  });
});

test('models', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes('chat-gemini') && ids.includes('embed-gemini'), ids.join());
  assert.equal((await client.models.retrieve('chat-gemini')).id, 'chat-gemini');
  assert.ok((await failure(client.models.retrieve('no-such-model'))) instanceof OpenAI.NotFoundError);
});

// With the SDK's own retries on, as a user has them: after Penstock has used up its tries, the SDK must not add any.
describe('errors', () => {
  test('unknown key', async () => {
    const error = await failure(new OpenAI({ apiKey: 'psk_wrong' }).chat.completions.create({ model: 'chat-openai', messages: user('say:3') }));
    assert.ok(error instanceof OpenAI.AuthenticationError, String(error));
    assert.equal(error.code, 'invalid_api_key');
    assert.ok(error.requestID);
  });

  test('unknown model', async () => {
    const error = await failure(ask('chat-openia'));
    assert.ok(error instanceof OpenAI.NotFoundError, String(error));
    assert.equal(error.code, 'model_not_found');
    assert.match(error.message, /chat-openai/);
  });

  test('bad request', async () => {
    const error = await failure(client.chat.completions.create({ model: 'chat-openai', messages: 'hello' }));
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.match(error.message, /messages/);
  });

  test('too large', async () => {
    const error = await failure(ask('chat-openai', { user: 'x'.repeat(1_100_000) }));
    assert.ok(error instanceof OpenAI.APIError, String(error));
    assert.deepEqual([error.status, error.code], [413, 'body_too_large']);
  });

  const classes = {
    400: OpenAI.BadRequestError, 403: OpenAI.PermissionDeniedError, 413: OpenAI.APIError, 429: OpenAI.RateLimitError, 502: OpenAI.InternalServerError,
    503: OpenAI.InternalServerError, 504: OpenAI.InternalServerError,
  };
  const check = (error, outcome) => {
    assert.ok(error instanceof classes[outcome.status], String(error));
    assert.equal(error.status, outcome.status);
    assert.ok(error.message.includes(outcome.says), error.message);
    assert.equal(error.requestID, error.headers.get('x-request-id'));
    assert.equal(error.headers.has('retry-after'), outcome.retry_after);
  };
  describe('plain', () => troubles('openai', ask, check));
  describe('streamed', () => troubles('openai', (model) => ask(model, { stream: true }), check));

  everywhere('a spent budget is not tried again', async (model) => {
    let asked = 0;
    const counting = new OpenAI({ fetch: (...request) => { asked += 1; return fetch(...request); } });
    const error = await failure(counting.chat.completions.create({ model, messages: user('say:3') }));
    assert.ok(error instanceof OpenAI.RateLimitError, String(error));
    assert.deepEqual([error.code, error.error.penstock.free_nano, asked], ['insufficient_quota', 0, 1]);
  }, { situation: 'spent' });

  everywhere('rate limits', async (model) => {
    const { response } = await ask(model).withResponse();
    assert.equal(response.headers.get('x-ratelimit-limit-requests'), '100000');
    assert.ok(Number(response.headers.get('x-ratelimit-remaining-requests')) < 100000);
  });

  everywhere('what cannot be said is refused', async (model, dialect) => {
    const before = await calls('chat', dialect);
    const error = await failure(ask(model, { n: 2, logprobs: true }));
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.ok(['n', 'logprobs'].includes(error.param), error.param);
    assert.equal((await calls('chat', dialect)) - before, 0, 'before anything is spent');
  }, { but: ['openai', 'azure'] });

  everywhere('fallback hides a failure', async (model, dialect) => {
    const before = await calls('mended', dialect);
    const { data, response } = await client.chat.completions.create({ model, messages: user('echo:well') }).withResponse();
    assert.equal(data.choices[0].message.content, 'well');
    assert.equal(response.headers.get('x-penstock-tries'), '2');
    assert.equal((await calls('mended', dialect)) - before, 2);
  }, { situation: 'mended' });

  for (const situation of ['cut', 'erring']) {
    everywhere(`a stream that is ${situation} raises`, async (model) => {
      let text = '';
      const error = await failure((async () => {
        for await (const event of await ask(model, { stream: true })) text += event.choices[0]?.delta.content ?? '';
      })());
      assert.ok(error instanceof OpenAI.APIError, String(error));
      assert.ok(text, 'what came before is there');
      const helped = await failure(client.chat.completions.stream({ model, messages: user('say:9') }).finalChatCompletion());
      assert.ok(helped instanceof OpenAI.APIError, String(helped));
    }, { situation });
  }
});

describe('abort', () => {
  everywhere('in mid stream', async (model, dialect) => {
    const seq = await lastCall();
    const stream = await ask(model, { stream: true });
    let seen = 0;
    let left = 0;
    for await (const _ of stream) {
      if (++seen === 3) {
        left = Date.now();
        stream.controller.abort();
      }
    }
    assert.ok((await cancelledSince('slow', dialect, seq)) - left <= 1000);
  }, { situation: 'slow' });

  everywhere('by leaving the loop', async (model, dialect) => {
    const seq = await lastCall();
    let left = 0;
    for await (const _ of await ask(model, { stream: true })) {
      left = Date.now();
      break;
    }
    assert.ok((await cancelledSince('slow', dialect, seq)) - left <= 1000);
  }, { situation: 'slow' });

  everywhere('before the first token', async (model, dialect) => {
    const seq = await lastCall();
    const controller = new AbortController();
    const promise = client.chat.completions.create({ model, messages: user('go') }, { signal: controller.signal });
    const outcome = failure(promise);
    await sleep(300);
    const left = Date.now();
    controller.abort();
    assert.ok((await outcome) instanceof OpenAI.APIUserAbortError);
    assert.ok((await cancelledSince('silent', dialect, seq)) - left <= 1000);
  }, { situation: 'silent' });
});
