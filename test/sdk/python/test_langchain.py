"""LangChain's client for OpenAI in Python, by chat completions and by responses."""

import asyncio
import time
import unittest

import openai
from judge import PIXEL, calls, cancelled_since, everywhere, last_call, sent
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


# LangChain keeps connections, which belong to a loop.
loop = asyncio.new_event_loop()
unittest.addModuleCleanup(loop.close)


class Solution(BaseModel):
    """How it is solved."""

    answer: str
    sure: bool


@tool
def weather(city: str, days: int) -> str:
    """Get the weather of a city."""
    return f"sunny in {city} for {days} days"


class Chat(unittest.TestCase):
    responses = False

    def chat(self, model, **more):
        return ChatOpenAI(model=model, use_responses_api=self.responses, stream_usage=True, **more)

    @everywhere()
    def test_plain(self, _, model):
        answer = self.chat(model).invoke([SystemMessage("Be brief."), HumanMessage('echo:Hello, "wörld"\n✓')])
        self.assertEqual(answer.text, 'Hello, "wörld"\n✓')
        self.assertGreater(answer.usage_metadata["input_tokens"], 0)
        self.assertGreater(answer.usage_metadata["output_tokens"], 0)
        self.assertEqual(answer.response_metadata["model_name"], model)

    @everywhere()
    def test_stream(self, _, model):
        whole = None
        for chunk in self.chat(model).stream("echo:one two three"):
            whole = chunk if whole is None else whole + chunk
        self.assertEqual(whole.text, "one two three")
        self.assertEqual(whole.usage_metadata["output_tokens"], 3)

    @everywhere()
    def test_async_stream(self, _, model):
        async def talk():
            return "".join([chunk.text async for chunk in self.chat(model).astream("echo:a b c")])

        self.assertEqual(loop.run_until_complete(talk()), "a b c")

    @everywhere()
    def test_tool_and_its_result(self, _, model):
        chat = self.chat(model).bind_tools([weather])
        first = chat.invoke("call:weather")
        self.assertEqual([c["name"] for c in first.tool_calls], ["weather"])
        results = [weather.invoke(c) for c in first.tool_calls]
        self.assertIsInstance(results[0], ToolMessage)
        second = chat.invoke([HumanMessage("call:weather"), first, *results, HumanMessage("echo:sunny")])
        self.assertEqual(second.text, "sunny")

    @everywhere()
    def test_tool_must_be_called(self, _, model):
        for choice in ("any", "weather"):
            answer = self.chat(model).bind_tools([weather], tool_choice=choice).invoke("Hi")
            self.assertEqual(answer.tool_calls[0]["name"], "weather")

    @everywhere("two-calls")
    def test_parallel_calls_streamed(self, dialect, model):
        whole = None
        for chunk in self.chat(model).bind_tools([weather]).stream("weather"):
            whole = chunk if whole is None else whole + chunk
        self.assertEqual(len({c["id"] for c in whole.tool_calls}), 2)
        results = [weather.invoke(c) for c in whole.tool_calls]
        answer = self.chat(f"chat-{dialect}").bind_tools([weather]).invoke([HumanMessage("weather"), whole, *results, HumanMessage("echo:done")])
        self.assertEqual(answer.text, "done")

    @everywhere()
    def test_structured_output(self, _, model):
        for method in ("json_schema", "function_calling"):
            solution = self.chat(model).with_structured_output(Solution, method=method).invoke("solve")
            self.assertIsInstance(solution, Solution)

    @everywhere()
    def test_image(self, _, model):
        image = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
        answer = self.chat(model).invoke([HumanMessage([image, {"type": "text", "text": "echo:a pixel"}])])
        self.assertEqual(answer.text, "a pixel")
        self.assertIn(PIXEL, sent()["body"])

    @everywhere("limited")
    def test_limits_are_not_tried_again(self, dialect, model):
        before = calls("limited", dialect)
        with self.assertRaises(openai.RateLimitError):
            self.chat(model).invoke("say:3")
        self.assertEqual(calls("limited", dialect) - before, 1)

    @everywhere("cut")
    def test_cut_streams_raise(self, _, model):
        text = ""
        with self.assertRaises((openai.APIError, ValueError)):  # the latter of responses that say that they failed
            for chunk in self.chat(model).stream("say:9"):
                text += chunk.text
        self.assertTrue(text)

    @everywhere("slow")
    def test_abort_in_mid_stream(self, dialect, model):
        seq = last_call()
        stream = self.chat(model, max_tokens=4000).stream("go")
        for chunk in stream:
            if chunk.text:
                break
        left = time.time()
        stream.close()
        self.assertLessEqual(cancelled_since("slow", dialect, seq) - left, 1.0)


class Responses(Chat):
    """The same by responses."""

    responses = True


class Embeddings(unittest.TestCase):
    @everywhere("embed")
    def test_documents(self, _, model):
        # As texts, not as tokens: counting them would ask the net for a vocabulary.
        vectors = OpenAIEmbeddings(model=model, check_embedding_ctx_length=False).embed_documents(["water", "a gate above"])
        self.assertEqual([len(v) for v in vectors], [16, 16])
        self.assertNotEqual(vectors[0], vectors[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
