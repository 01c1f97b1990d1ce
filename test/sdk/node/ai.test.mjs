// The AI SDK with its providers for OpenAI (responses, which is its default, and chat), for Anthropic, and for whatever is compatible
// with OpenAI. It repeats failed calls by their status alone, without asking x-should-retry; so it is told not to.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, Output, embedMany, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

import { cancelledSince, everywhere, failure, lastCall, pixel, sent, troubles } from './judge.mjs';

const baseURL = process.env.OPENAI_BASE_URL;
const openai = createOpenAI({ baseURL });
const anthropic = createAnthropic({ baseURL });
const compatible = createOpenAICompatible({ name: 'penstock', baseURL, apiKey: process.env.OPENAI_API_KEY, supportsStructuredOutputs: true, includeUsage: true });

const Solution = z.object({ answer: z.string(), sure: z.boolean() });
const system = 'Be brief.';
const maxRetries = 0;

/** Reads a stream to its end; what it fails with is thrown. */
async function drained(result) {
  let text = '';
  for await (const part of result.fullStream) {
    if (part.type === 'error') throw Object.assign(part.error, { text });
    if (part.type === 'text-delta') text += part.text;
  }
  return text;
}

const silently = { onError() {} };

/** All tests of one provider of the SDK; those of how errors are told only for one of each dialect. */
function suite(name, client, model, { errors = false } = {}) {
  describe(name, () => {
    everywhere('plain', async (id) => {
      const result = await generateText({ model: model(id), system, prompt: 'echo:Hello, "wörld"\n✓', maxOutputTokens: 200 });
      assert.deepEqual([result.text, result.finishReason], ['Hello, "wörld"\n✓', 'stop']);
      assert.deepEqual(result.warnings ?? [], []);
      assert.ok(result.usage.inputTokens > 0 && result.usage.outputTokens > 0);
      assert.equal(result.response.modelId, id);
    });

    everywhere('cut at the limit', async (id) => {
      const result = await generateText({ model: model(id), prompt: 'echo:one two three four five', maxOutputTokens: 3 });
      assert.equal(result.finishReason, 'length');
    });

    everywhere('stream', async (id) => {
      const result = streamText({ model: model(id), system, prompt: 'echo:one two three', ...silently });
      assert.equal(await drained(result), 'one two three');
      assert.equal(await result.finishReason, 'stop');
      const usage = await result.usage;
      assert.ok(usage.inputTokens > 0);
      assert.equal(usage.outputTokens, 3);
    });

    everywhere('reasoning', async (id) => {
      const plain = await generateText({ model: model(id), prompt: 'echo:so' });
      const streamed = streamText({ model: model(id), prompt: 'echo:so', ...silently });
      assert.deepEqual([plain.text, await drained(streamed)], ['so', 'so']);
      assert.ok(plain.usage.outputTokens > 1);
      if (client === 'anthropic') {
        assert.ok(plain.reasoningText);
        assert.ok(await streamed.reasoningText);
      }
    }, { situation: 'thinking' });

    everywhere('tools, as a loop', async (id) => {
      for (const run of [generateText, streamText]) {
        const asked = [];
        const weather = tool({
          description: 'Get the weather of a city.', inputSchema: z.object({ city: z.string(), days: z.number().int() }),
          execute: (input) => { asked.push(input); return 'sunny'; },
        });
        const result = run({ model: model(id), tools: { weather }, stopWhen: stepCountIs(2), prompt: 'call:weather', ...silently });
        if (run === streamText) await drained(result);
        const steps = await (await result).steps;
        assert.deepEqual([steps.length, steps[0].finishReason, steps[0].toolCalls[0].toolName], [2, 'tool-calls', 'weather']);
        assert.equal(typeof asked[0].city, 'string');
      }
    });

    everywhere('a tool must be called', async (id) => {
      const weather = tool({ inputSchema: z.object({ city: z.string() }) });
      for (const toolChoice of ['required', { type: 'tool', toolName: 'weather' }]) {
        const result = await generateText({ model: model(id), tools: { weather }, toolChoice, prompt: 'Hi' });
        assert.equal(result.toolCalls[0].toolName, 'weather');
      }
    });

    everywhere('parallel calls', async (id, dialect) => {
      const weather = tool({ inputSchema: z.object({ city: z.string() }), execute: () => 'sunny' });
      const result = streamText({ model: model(id), tools: { weather }, prompt: 'weather', ...silently });
      await drained(result);
      const calls = await result.toolCalls;
      assert.deepEqual([calls.length, new Set(calls.map((c) => c.toolCallId)).size], [2, 2]);
      const { messages } = await result.response;
      const next = [{ role: 'user', content: 'weather' }, ...messages, { role: 'user', content: 'echo:done' }];
      assert.equal((await generateText({ model: model(`chat-${dialect}`), tools: { weather }, messages: next })).text, 'done');
    }, { situation: 'two-calls' });

    everywhere('structured output', async (id) => {
      const plain = await generateText({ model: model(id), prompt: 'solve', output: Output.object({ schema: Solution }) });
      Solution.parse(plain.output);
      const streamed = streamText({ model: model(id), prompt: 'solve', output: Output.object({ schema: Solution }), ...silently });
      let last;
      for await (const part of streamed.partialOutputStream) last = part;
      Solution.parse(last);
    });

    everywhere('image', async (id) => {
      const content = [{ type: 'image', image: `data:image/png;base64,${pixel}` }, { type: 'text', text: 'echo:a pixel' }];
      assert.equal((await generateText({ model: model(id), messages: [{ role: 'user', content }] })).text, 'a pixel');
      assert.ok((await sent()).body.includes(pixel));
    });

    const check = (error, outcome) => {
      assert.ok(APICallError.isInstance(error), String(error));
      assert.equal(error.statusCode, outcome.status);
      assert.ok(error.message.includes(outcome.says), error.message);
      assert.equal('retry-after' in error.responseHeaders, outcome.retry_after);
    };
    if (errors) troubles(client, (id) => generateText({ model: model(id), prompt: 'say:3', maxRetries }), check);

    test('unknown model', async () => {
      check(await failure(generateText({ model: model('chat-openia'), prompt: 'Hi', maxRetries })), { status: 404, says: 'chat-openai', retry_after: false });
    });

    for (const situation of ['cut', 'erring']) {
      everywhere(`a stream that is ${situation} fails`, async (id) => {
        const error = await failure(drained(streamText({ model: model(id), prompt: 'say:9', maxRetries, ...silently })));
        assert.ok(error.text, 'what came before is there');
      }, { situation });
    }

    everywhere('abort in mid stream', async (id, dialect) => {
      const seq = await lastCall();
      const controller = new AbortController();
      const result = streamText({ model: model(id), prompt: 'go', maxOutputTokens: 4000, abortSignal: controller.signal, ...silently });
      let left = 0;
      for await (const _ of result.textStream) {
        left ||= Date.now();
        controller.abort();
      }
      assert.ok((await cancelledSince('slow', dialect, seq)) - left <= 1000);
    }, { situation: 'slow' });

    everywhere('timeout', async (id, dialect) => {
      const seq = await lastCall();
      await failure(generateText({ model: model(id), prompt: 'go', maxRetries, abortSignal: AbortSignal.timeout(200) }));
      const left = Date.now();
      assert.ok((await cancelledSince('silent', dialect, seq)) - left <= 1000);
    }, { situation: 'silent' });
  });
}

suite('openai, responses', 'openai', (id) => openai(id), { errors: true });
suite('openai, chat', 'openai', (id) => openai.chat(id));
suite('openai-compatible', 'openai', (id) => compatible(id));
suite('anthropic', 'anthropic', (id) => anthropic(id), { errors: true });

everywhere('embeddings', async (id) => {
  for (const model of [openai.embedding(id), compatible.embeddingModel(id)]) {
    const { embeddings } = await embedMany({ model, values: ['water', 'a gate above'] });
    assert.deepEqual(embeddings.map((e) => e.length), [16, 16]);
    assert.notDeepEqual(embeddings[0], embeddings[1]);
  }
}, { situation: 'embed' });
