// LangChain's client for OpenAI in Node, by chat completions and by responses.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import { HumanMessage, SystemMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { z } from 'zod';

import { calls, cancelledSince, everywhere, failure, lastCall, pixel, sent } from './judge.mjs';

const configuration = { baseURL: process.env.OPENAI_BASE_URL };
const weather = tool(({ city, days }) => `sunny in ${city} for ${days} days`, {
  name: 'weather', description: 'Get the weather of a city.', schema: z.object({ city: z.string(), days: z.number().int() }),
});
const Solution = z.object({ answer: z.string(), sure: z.boolean() });

/** Adds up what a stream has. */
async function whole(stream) {
  let sum;
  for await (const chunk of await stream) sum = sum ? sum.concat(chunk) : chunk;
  return sum;
}

for (const useResponsesApi of [false, true]) {
  describe(useResponsesApi ? 'responses' : 'chat', () => {
    const chat = (model, more = {}) => new ChatOpenAI({ model, useResponsesApi, streamUsage: true, configuration, ...more });

    everywhere('plain', async (model) => {
      const answer = await chat(model).invoke([new SystemMessage('Be brief.'), new HumanMessage('echo:Hello, "wörld"\n✓')]);
      assert.equal(answer.text, 'Hello, "wörld"\n✓');
      assert.ok(answer.usage_metadata.input_tokens > 0 && answer.usage_metadata.output_tokens > 0);
    });

    everywhere('stream', async (model) => {
      const answer = await whole(chat(model).stream('echo:one two three'));
      assert.deepEqual([answer.text, answer.usage_metadata.output_tokens], ['one two three', 3]);
    });

    everywhere('a tool and its result', async (model) => {
      const bound = chat(model).bindTools([weather]);
      const first = await bound.invoke('call:weather');
      assert.deepEqual(first.tool_calls.map((c) => c.name), ['weather']);
      const results = await Promise.all(first.tool_calls.map((c) => weather.invoke(c)));
      const second = await bound.invoke([new HumanMessage('call:weather'), first, ...results, new HumanMessage('echo:sunny')]);
      assert.equal(second.text, 'sunny');
    });

    everywhere('a tool must be called', async (model) => {
      // That any must be called, it says in chats only.
      for (const tool_choice of useResponsesApi ? ['weather'] : ['any', 'weather']) {
        const answer = await chat(model).bindTools([weather], { tool_choice }).invoke('Hi');
        assert.equal(answer.tool_calls[0]?.name, 'weather');
      }
    });

    everywhere('parallel calls, streamed', async (model, dialect) => {
      const answer = await whole(chat(model).bindTools([weather]).stream('weather'));
      assert.equal(new Set(answer.tool_calls.map((c) => c.id)).size, 2);
      const results = await Promise.all(answer.tool_calls.map((c) => weather.invoke(c)));
      const next = await chat(`chat-${dialect}`).bindTools([weather]).invoke([new HumanMessage('weather'), answer, ...results, new HumanMessage('echo:done')]);
      assert.equal(next.text, 'done');
    }, { situation: 'two-calls' });

    everywhere('structured output', async (model) => {
      for (const method of ['jsonSchema', 'functionCalling']) {
        Solution.parse(await chat(model).withStructuredOutput(Solution, { name: 'solution', method }).invoke('solve'));
      }
    });

    everywhere('image', async (model) => {
      const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } };
      const answer = await chat(model).invoke([new HumanMessage({ content: [image, { type: 'text', text: 'echo:a pixel' }] })]);
      assert.equal(answer.text, 'a pixel');
      assert.ok((await sent()).body.includes(pixel));
    });

    // It tries again by status alone, so it is told not to.
    everywhere('limits', async (model, dialect) => {
      const before = await calls('limited', dialect);
      const error = await failure(chat(model, { maxRetries: 0 }).invoke('say:3'));
      assert.equal(error.status, 429);
      assert.equal((await calls('limited', dialect)) - before, 1);
    }, { situation: 'limited' });

    everywhere('a stream that is cut raises', async (model) => {
      await failure(whole(chat(model, { maxRetries: 0 }).stream('say:9')));
    }, { situation: 'cut' });

    everywhere('abort in mid stream', async (model, dialect) => {
      const seq = await lastCall();
      const controller = new AbortController();
      let left = 0;
      try {
        for await (const chunk of await chat(model, { maxTokens: 4000 }).stream('go', { signal: controller.signal })) {
          if (left || !chunk.text) continue;
          left = Date.now();
          controller.abort();
        }
      } catch (error) {
        assert.ok(left, String(error));
      }
      assert.ok((await cancelledSince('slow', dialect, seq)) - left <= 1000);
    }, { situation: 'slow' });
  });
}

everywhere('embeddings', async (model) => {
  const vectors = await new OpenAIEmbeddings({ model, configuration }).embedDocuments(['water', 'a gate above']);
  assert.deepEqual(vectors.map((v) => v.length), [16, 16]);
  assert.notDeepEqual(vectors[0], vectors[1]);
}, { situation: 'embed' });
