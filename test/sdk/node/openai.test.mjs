// The OpenAI SDK for Node against a running Penstock.
//
// The SDK is set up as a user would: by OPENAI_BASE_URL and OPENAI_API_KEY alone. SIM_URL is the simulated provider behind
// Penstock, asked for what really arrived there. The Go test beside this folder starts all of it and runs this file.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import OpenAI from 'openai';
import { LengthFinishReasonError } from 'openai/error';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const sim = process.env.SIM_URL;
const client = new OpenAI();

/** The provider's own bill: every call that reached it and has ended. */
const bill = async () => (await fetch(`${sim}/_bill`)).json();

/** The bill once the provider has noticed the end of every call. */
async function settled() {
  for (const end = Date.now() + 5000; Date.now() < end; await sleep(20)) {
    const now = await bill();
    if (now.open === 0) return now;
  }
  throw new Error('a call at the provider does not end');
}

/** How many calls of these models have reached the provider. */
async function calls(...models) {
  const known = (await settled()).models;
  return models.reduce((sum, m) => sum + (known[`sim/${m}`]?.calls ?? 0), 0);
}

const lastCall = async () => (await settled()).calls.at(-1)?.seq ?? 0;

/** When the provider noticed that the client of a call of the model, after number seq, had left; in ms since 1970. */
async function cancelledSince(model, seq) {
  for (const end = Date.now() + 5000; Date.now() < end; await sleep(50)) {
    const call = (await bill()).calls.find((c) => c.model === model && c.seq > seq && c.canceled_at);
    if (call) return Date.parse(call.canceled_at);
  }
  throw new Error(`the provider never saw that the client of ${model} left`);
}

const user = (text) => [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: text },
];

const ask = (model, more = {}) => client.chat.completions.create({ model, messages: user('say:3'), ...more });

/** What the promise fails with. */
const failure = (promise) => promise.then(() => assert.fail('no error'), (error) => error);

const Weather = z.object({ city: z.string(), days: z.number().int() });
const weather = zodFunction({ name: 'weather', parameters: Weather });
const Solution = z.object({ steps: z.array(z.object({ explanation: z.string(), output: z.string() })), answer: z.string() });
const solution = zodResponseFormat(Solution, 'solution');

describe('chat', () => {
  test('plain', async () => {
    const answer = await client.chat.completions.create({ model: 'chat', messages: user('echo:Hello, "wörld"\n✓') });
    assert.equal(answer.choices[0].message.content, 'Hello, "wörld"\n✓');
    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.equal(answer.model, 'chat');
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    assert.ok(answer._request_id);
  });

  test('headers', async () => {
    const { data, response } = await ask('chat').withResponse();
    assert.equal(response.headers.get('x-penstock-target'), 'sim/chat-large');
    assert.equal(response.headers.get('x-penstock-tries'), '1');
    assert.ok(Number(response.headers.get('x-penstock-cost')) > 0);
    assert.equal(data.usage.completion_tokens, 3);
  });

  test('several choices with logprobs', async () => {
    const answer = await ask('chat', { n: 2, logprobs: true, top_logprobs: 2 });
    assert.deepEqual(answer.choices.map((c) => c.index), [0, 1]);
    assert.equal(answer.choices[1].logprobs.content[0].top_logprobs.length, 2);
  });

  test('stream', async () => {
    let text = '';
    let finish = null;
    for await (const event of await client.chat.completions.create({ model: 'chat', messages: user('echo:one two three'), stream: true })) {
      assert.equal(event.model, 'chat');
      assert.ok(!event.usage, 'usage, though it was not asked for');
      text += event.choices[0].delta.content ?? '';
      finish = event.choices[0].finish_reason ?? finish;
    }
    assert.deepEqual([text, finish], ['one two three', 'stop']);
  });

  test('stream with usage', async () => {
    const events = [];
    for await (const event of await ask('chat', { stream: true, stream_options: { include_usage: true } })) events.push(event);
    assert.deepEqual(events.at(-1).choices, []);
    assert.equal(events.at(-1).usage.completion_tokens, 3);
    assert.ok(events.slice(0, -1).every((e) => !e.usage));
  });

  test('stream by the helper', async () => {
    const stream = client.chat.completions.stream({ model: 'chat', messages: user('echo:a b c') });
    const deltas = [];
    stream.on('content', (delta) => deltas.push(delta));
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices[0].message.content, 'a b c');
    assert.equal(deltas.join(''), 'a b c');
  });
});

describe('tools', () => {
  test('plain', async () => {
    const answer = await client.chat.completions.create({ model: 'chat', messages: user('call:weather'), tools: [weather] });
    assert.equal(answer.choices[0].finish_reason, 'tool_calls');
    const call = answer.choices[0].message.tool_calls[0];
    assert.equal(call.function.name, 'weather');
    Weather.parse(JSON.parse(call.function.arguments));
  });

  test('result goes back', async () => {
    const first = await client.chat.completions.create({ model: 'chat', messages: user('call:weather'), tools: [weather] });
    const message = first.choices[0].message;
    const second = await client.chat.completions.create({
      model: 'chat',
      messages: [...user('echo:sunny'), message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'sunny' }],
    });
    assert.equal(second.choices[0].message.content, 'sunny');
  });

  test('parallel calls streamed by the helper', async () => {
    const done = [];
    const stream = client.chat.completions.stream({ model: 'two-calls', messages: user('weather'), tools: [weather] });
    stream.on('tool_calls.function.arguments.done', (event) => done.push(event.parsed_arguments));
    const final = await stream.finalChatCompletion();
    assert.equal(done.length, 2);
    done.forEach((d) => Weather.parse(d));
    assert.equal(final.choices[0].message.tool_calls.length, 2);
    assert.equal(final.choices[0].finish_reason, 'tool_calls');
  });
});

describe('structured output', () => {
  test('parse', async () => {
    const answer = await client.chat.completions.parse({ model: 'chat', messages: user('solve'), response_format: solution });
    Solution.parse(answer.choices[0].message.parsed);
  });

  test('streamed', async () => {
    const stream = client.chat.completions.stream({ model: 'chat', messages: user('solve'), response_format: solution });
    const final = await stream.finalChatCompletion();
    Solution.parse(final.choices[0].message.parsed);
  });

  test('cut at the limit', async () => {
    const error = await failure(
      client.chat.completions.parse({ model: 'chat', messages: user('solve'), response_format: solution, max_tokens: 2 }),
    );
    assert.ok(error instanceof LengthFinishReasonError, String(error));
  });
});

describe('embeddings', () => {
  test('the default form and floats agree', async () => {
    const input = ['water', 'a gate above'];
    const byDefault = await client.embeddings.create({ model: 'embed', input }); // asks for base64 and decodes it
    const floats = await client.embeddings.create({ model: 'embed', input, encoding_format: 'float' });
    assert.deepEqual(byDefault.data.map((d) => d.index), [0, 1]);
    byDefault.data.forEach((d, i) => {
      assert.equal(d.embedding.length, 16);
      d.embedding.forEach((x, k) => assert.ok(Math.abs(x - floats.data[i].embedding[k]) < 1e-6));
    });
  });

  test('one text and tokens', async () => {
    assert.equal((await client.embeddings.create({ model: 'embed', input: 'water' })).data.length, 1);
    assert.equal((await client.embeddings.create({ model: 'embed', input: [1, 2, 3] })).data.length, 1);
    assert.equal((await client.embeddings.create({ model: 'embed', input: [[1, 2], [3]] })).data.length, 2);
  });
});

test('models', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes('chat') && ids.includes('embed'), ids.join());
  assert.equal((await client.models.retrieve('chat')).id, 'chat');
  assert.ok((await failure(client.models.retrieve('no-such-model'))) instanceof OpenAI.NotFoundError);
});

// With the SDK's own retries on, as a user has them: after Penstock has used up its tries, the SDK must not add any.
describe('errors', () => {
  test('unknown key', async () => {
    const error = await failure(new OpenAI({ apiKey: 'psk_wrong' }).chat.completions.create({ model: 'chat', messages: user('say:3') }));
    assert.ok(error instanceof OpenAI.AuthenticationError, String(error));
    assert.equal(error.code, 'invalid_api_key');
    assert.ok(error.requestID);
  });

  test('unknown model', async () => {
    const error = await failure(ask('chatt'));
    assert.ok(error instanceof OpenAI.NotFoundError, String(error));
    assert.equal(error.code, 'model_not_found');
    assert.match(error.message, /chat\b/);
  });

  test('bad request', async () => {
    const error = await failure(client.chat.completions.create({ model: 'chat', messages: 'hello' }));
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.match(error.message, /messages/);
  });

  test('refused by the provider', async () => {
    const before = await calls('refusing');
    const error = await failure(ask('refusing'));
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.match(error.message, /no poems today/);
    assert.equal(error.code, 'no_poems');
    assert.equal((await calls('refusing')) - before, 1);
  });

  test('all targets fail', async () => {
    const before = await calls('failing-a', 'failing-b');
    const error = await failure(ask('failing'));
    assert.ok(error instanceof OpenAI.InternalServerError, String(error));
    assert.equal(error.status, 502);
    assert.equal(error.headers.get('x-should-retry'), 'false');
    assert.equal((await calls('failing-a', 'failing-b')) - before, 2, 'each target is tried once, and the SDK adds nothing');
  });

  test('all targets limited', async () => {
    const before = await calls('limited-a', 'limited-b');
    const error = await failure(ask('limited'));
    assert.ok(error instanceof OpenAI.RateLimitError, String(error));
    assert.ok(error.headers.get('retry-after'));
    assert.equal((await calls('limited-a', 'limited-b')) - before, 2);
  });

  test('no first token in time', async () => {
    const before = await calls('silent');
    const error = await failure(ask('silent'));
    assert.ok(error instanceof OpenAI.InternalServerError, String(error));
    assert.equal(error.status, 504);
    assert.match(error.message, /first_token/);
    assert.equal((await calls('silent')) - before, 1);
  });

  test('fallback hides a failure', async () => {
    const before = await calls('broken');
    const { data, response } = await client.chat.completions.create({ model: 'mended', messages: user('echo:well') }).withResponse();
    assert.equal(data.choices[0].message.content, 'well');
    assert.equal(response.headers.get('x-penstock-tries'), '2');
    assert.equal((await calls('broken')) - before, 1);
  });

  test('cut stream raises', async () => {
    let text = '';
    const error = await failure((async () => {
      for await (const event of await ask('cut', { stream: true })) text += event.choices[0].delta.content ?? '';
    })());
    assert.ok(error instanceof OpenAI.APIError, String(error));
    assert.ok(text, 'what came before the cut is there');
  });

  test('cut stream raises in the helper', async () => {
    const error = await failure(client.chat.completions.stream({ model: 'cut', messages: user('say:9') }).finalChatCompletion());
    assert.ok(error instanceof OpenAI.APIError, String(error));
  });
});

describe('abort', () => {
  test('in mid stream', async () => {
    const seq = await lastCall();
    const stream = await ask('slow', { stream: true });
    let seen = 0;
    let left = 0;
    for await (const _ of stream) {
      if (++seen === 3) {
        left = Date.now();
        stream.controller.abort();
      }
    }
    assert.ok((await cancelledSince('slow', seq)) - left <= 1000);
  });

  test('by leaving the loop', async () => {
    const seq = await lastCall();
    let left = 0;
    for await (const _ of await ask('slow', { stream: true })) {
      left = Date.now();
      break;
    }
    assert.ok((await cancelledSince('slow', seq)) - left <= 1000);
  });

  test('before the first token', async () => {
    const seq = await lastCall();
    const controller = new AbortController();
    const promise = client.chat.completions.create({ model: 'silent', messages: user('go') }, { signal: controller.signal });
    const outcome = failure(promise);
    await sleep(300);
    const left = Date.now();
    controller.abort();
    assert.ok((await outcome) instanceof OpenAI.APIUserAbortError);
    assert.ok((await cancelledSince('silent', seq)) - left <= 1000);
  });
});
