// OpenAI's SDK for Node by responses, which are kept to go on from.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import OpenAI from 'openai';
import { zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { cancelledSince, everywhere, failure, lastCall, pixel, sent } from './judge.mjs';

const client = new OpenAI();
const ask = (model, input, more = {}) => client.responses.create({ model, instructions: 'Be brief.', input, ...more });
const Weather = z.object({ city: z.string(), days: z.number().int() });
const tools = [zodResponsesFunction({ name: 'weather', parameters: Weather })];
const Solution = z.object({ answer: z.string(), sure: z.boolean() });

everywhere('plain', async (model) => {
  const answer = await ask(model, 'echo:Hello, "wörld"\n✓');
  assert.deepEqual([answer.output_text, answer.status, answer.model], ['Hello, "wörld"\n✓', 'completed', model]);
  assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
});

everywhere('raw stream', async (model) => {
  const events = [];
  for await (const event of await ask(model, 'echo:one two three', { stream: true })) events.push(event);
  assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
  assert.deepEqual([events[0].type, events.at(-1).type], ['response.created', 'response.completed']);
  assert.equal(events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join(''), 'one two three');
});

everywhere('stream by the helper', async (model) => {
  const stream = client.responses.stream({ model, input: 'echo:one two three' });
  let text = '';
  stream.on('response.output_text.delta', (event) => { text += event.delta; });
  const final = await stream.finalResponse();
  assert.deepEqual([text, final.output_text, final.usage.output_tokens], ['one two three', 'one two three', 3]);
});

everywhere('reasoning, streamed', async (model) => {
  const final = await client.responses.stream({ model, input: 'echo:so' }).finalResponse();
  assert.equal(final.output_text, 'so');
  const again = await ask(model, [{ role: 'user', content: 'echo:so' }, ...final.output, { role: 'user', content: 'echo:and so on' }]);
  assert.equal(again.output_text, 'and so on');
}, { situation: 'thinking' });

describe('tools', () => {
  everywhere('call and result', async (model) => {
    const first = await ask(model, 'call:weather', { tools });
    const call = first.output.at(-1);
    assert.deepEqual([call.type, call.name], ['function_call', 'weather']);
    Weather.parse(JSON.parse(call.arguments));
    const result = [{ type: 'function_call_output', call_id: call.call_id, output: 'sunny' }, { role: 'user', content: 'echo:sunny' }];
    assert.equal((await ask(model, [{ role: 'user', content: 'call:weather' }, ...first.output, ...result], { tools })).output_text, 'sunny');
    assert.equal((await ask(model, result, { tools, previous_response_id: first.id })).output_text, 'sunny');
  });

  everywhere('items that are named by their ids', async (model) => {
    const first = await ask(model, 'call:weather', { tools });
    const named = first.output.map(({ id }) => ({ type: 'item_reference', id }));
    const result = [{ type: 'function_call_output', call_id: first.output.at(-1).call_id, output: 'sunny' }, { role: 'user', content: 'echo:sunny' }];
    assert.equal((await ask(model, [{ role: 'user', content: 'call:weather' }, ...named, ...result], { tools })).output_text, 'sunny');
  });

  everywhere('parallel calls, streamed', async (model) => {
    const stream = client.responses.stream({ model, input: 'weather', tools });
    const done = [];
    stream.on('event', (event) => { if (event.type === 'response.function_call_arguments.done') done.push(event.arguments); });
    const final = await stream.finalResponse();
    assert.equal(final.output.filter((i) => i.type === 'function_call').length, 2);
    assert.equal(done.length, 2);
    done.forEach((text) => Weather.parse(JSON.parse(text)));
  }, { situation: 'two-calls' });
});

everywhere('what is kept', async (model) => {
  const first = await ask(model, 'echo:the gate is open');
  assert.equal((await client.responses.retrieve(first.id)).output[0].content[0].text, 'the gate is open');
  const next = await client.responses.stream({ model, input: 'echo:so it is', previous_response_id: first.id }).finalResponse();
  assert.equal(next.output_text, 'so it is');
  assert.ok((await sent()).body.includes('the gate is open'));
  await client.responses.delete(first.id);
  assert.ok((await failure(client.responses.retrieve(first.id))) instanceof OpenAI.NotFoundError);
});

everywhere('structured output', async (model) => {
  const text = { format: zodTextFormat(Solution, 'solution') };
  Solution.parse((await client.responses.parse({ model, input: 'solve', text })).output_parsed);
  Solution.parse((await client.responses.stream({ model, input: 'solve', text }).finalResponse()).output_parsed);
});

everywhere('image', async (model) => {
  const content = [{ type: 'input_image', image_url: `data:image/png;base64,${pixel}`, detail: 'auto' }, { type: 'input_text', text: 'echo:a pixel' }];
  assert.equal((await ask(model, [{ role: 'user', content }])).output_text, 'a pixel');
  assert.ok((await sent()).body.includes(pixel));
});

everywhere('a stream that is cut is told', async (model) => {
  let failed = false;
  try {
    for await (const event of await ask(model, 'say:9', { stream: true })) failed ||= event.type === 'response.failed';
  } catch (error) {
    assert.ok(error instanceof OpenAI.APIError, String(error));
    failed = true;
  }
  assert.ok(failed);
}, { situation: 'cut' });

everywhere('abort by leaving the loop', async (model, dialect) => {
  const seq = await lastCall();
  let left = 0;
  for await (const event of await ask(model, 'go', { stream: true, max_output_tokens: 4000 })) {
    if (event.type !== 'response.output_text.delta') continue;
    left = Date.now();
    break;
  }
  assert.ok((await cancelledSince('slow', dialect, seq)) - left <= 1000);
}, { situation: 'slow' });
