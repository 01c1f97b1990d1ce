"""The OpenAI SDK for Python against a running Penstock.

The SDK is set up as a user would: by OPENAI_BASE_URL and OPENAI_API_KEY alone. SIM_URL is the simulated provider behind
Penstock, asked for what really arrived there. The Go test beside this folder starts all of it and runs this file.
"""

import asyncio
import json
import os
import time
import unittest
import urllib.request
from datetime import datetime

import openai
from pydantic import BaseModel

SIM = os.environ["SIM_URL"]


def bill():
    """The provider's own bill: every call that reached it and has ended."""
    with urllib.request.urlopen(SIM + "/_bill", timeout=5) as answer:
        return json.load(answer)


def settled():
    """The bill once the provider has noticed the end of every call."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        now = bill()
        if now["open"] == 0:
            return now
        time.sleep(0.02)
    raise AssertionError("a call at the provider does not end")


def calls(*models):
    """How many calls of these models have reached the provider."""
    known = settled()["models"]
    return sum(known.get("sim/" + m, {"calls": 0})["calls"] for m in models)


def cancelled_since(model, seq):
    """When the provider noticed that the client of its newest call of the model had left, in seconds since 1970."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for call in bill()["calls"]:
            if call["model"] == model and call["seq"] > seq and "canceled_at" in call:
                # The provider writes nanoseconds; Python reads at most microseconds.
                text = call["canceled_at"].replace("Z", "+00:00")
                head, _, rest = text.partition(".")
                fraction, zone = (rest[: rest.find("+")], rest[rest.find("+"):]) if rest else ("0", "")
                return datetime.fromisoformat(f"{head}.{fraction[:6]:0<6}{zone}" if rest else text).timestamp()
        time.sleep(0.05)
    raise AssertionError(f"the provider never saw that the client of {model} left")


def last_call():
    listed = settled()["calls"]
    return listed[-1]["seq"] if listed else 0


def user(text):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


class Weather(BaseModel):
    """Get the weather of a city."""

    city: str
    days: int


class Step(BaseModel):
    explanation: str
    output: str


class Solution(BaseModel):
    steps: list[Step]
    answer: str


class Chat(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI()
        self.addCleanup(self.client.close)

    def test_plain(self):
        answer = self.client.chat.completions.create(model="chat", messages=user("echo:Hello, \"wörld\"\n✓"))
        self.assertEqual(answer.choices[0].message.content, 'Hello, "wörld"\n✓')
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.model, "chat")
        self.assertGreater(answer.usage.prompt_tokens, 0)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertTrue(answer._request_id)

    def test_headers(self):
        raw = self.client.chat.completions.with_raw_response.create(model="chat", messages=user("say:5"))
        self.assertEqual(raw.headers["x-penstock-target"], "sim/chat-large")
        self.assertEqual(raw.headers["x-penstock-tries"], "1")
        self.assertGreater(float(raw.headers["x-penstock-cost"]), 0)
        self.assertEqual(raw.parse().usage.completion_tokens, 5)

    def test_several_choices(self):
        answer = self.client.chat.completions.create(model="chat", messages=user("say:3"), n=2, logprobs=True, top_logprobs=2)
        self.assertEqual([c.index for c in answer.choices], [0, 1])
        self.assertEqual(len(answer.choices[1].logprobs.content[0].top_logprobs), 2)

    def test_stream(self):
        text, finish = "", None
        for event in self.client.chat.completions.create(model="chat", messages=user("echo:one two three"), stream=True):
            self.assertEqual(event.model, "chat")
            self.assertIsNone(event.usage, "usage, though it was not asked for")
            text += event.choices[0].delta.content or ""
            finish = event.choices[0].finish_reason or finish
        self.assertEqual((text, finish), ("one two three", "stop"))

    def test_stream_with_usage(self):
        events = list(self.client.chat.completions.create(
            model="chat", messages=user("say:7"), stream=True, stream_options={"include_usage": True}))
        self.assertEqual(events[-1].choices, [])
        self.assertEqual(events[-1].usage.completion_tokens, 7)
        self.assertTrue(all(e.usage is None for e in events[:-1]))

    def test_async_stream(self):
        async def talk():
            async with openai.AsyncOpenAI() as client:
                stream = await client.chat.completions.create(model="chat", messages=user("echo:a b c"), stream=True)
                return "".join([e.choices[0].delta.content or "" async for e in stream])

        self.assertEqual(asyncio.run(talk()), "a b c")

    def test_unknown_members_reach_the_provider(self):
        self.client.chat.completions.create(model="chat", messages=user("say:1"), extra_body={"x_new_thing": {"a": 12345678901234567890}})
        with urllib.request.urlopen(SIM + "/_requests?n=1", timeout=5) as answer:
            sent = json.load(answer)["requests"][-1]
        self.assertEqual(json.loads(sent["body"])["x_new_thing"], {"a": 12345678901234567890})

    def test_the_clients_key_stays_here(self):
        self.client.chat.completions.create(model="chat", messages=user("say:1"))
        with urllib.request.urlopen(SIM + "/_requests?n=1", timeout=5) as answer:
            sent = json.load(answer)["requests"][-1]
        self.assertNotIn(os.environ["OPENAI_API_KEY"], json.dumps(sent))


class Tools(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI()
        self.addCleanup(self.client.close)

    def test_plain(self):
        answer = self.client.chat.completions.create(
            model="chat", messages=user("call:Weather"), tools=[openai.pydantic_function_tool(Weather)])
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
        call = answer.choices[0].message.tool_calls[0]
        self.assertEqual(call.function.name, "Weather")
        Weather.model_validate_json(call.function.arguments)

    def test_result_goes_back(self):
        first = self.client.chat.completions.create(
            model="chat", messages=user("call:Weather"), tools=[openai.pydantic_function_tool(Weather)])
        message = first.choices[0].message
        history = user("echo:sunny") + [
            message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}]
        second = self.client.chat.completions.create(model="chat", messages=history)
        self.assertEqual(second.choices[0].message.content, "sunny")

    def test_parallel_calls_streamed_by_the_helper(self):
        done = []
        with self.client.chat.completions.stream(
                model="two-calls", messages=user("weather"), tools=[openai.pydantic_function_tool(Weather)]) as stream:
            for event in stream:
                if event.type == "tool_calls.function.arguments.done":
                    done.append(event.parsed_arguments)
            final = stream.get_final_completion()
        self.assertEqual(len(done), 2)
        self.assertTrue(all(isinstance(d, Weather) for d in done))
        self.assertEqual(len(final.choices[0].message.tool_calls), 2)
        self.assertEqual(final.choices[0].finish_reason, "tool_calls")


class StructuredOutput(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI()
        self.addCleanup(self.client.close)

    def test_parse(self):
        answer = self.client.chat.completions.parse(model="chat", messages=user("solve"), response_format=Solution)
        parsed = answer.choices[0].message.parsed
        self.assertIsInstance(parsed, Solution)
        self.assertTrue(parsed.steps)

    def test_streamed(self):
        with self.client.chat.completions.stream(model="chat", messages=user("solve"), response_format=Solution) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        self.assertIsInstance(final.choices[0].message.parsed, Solution)

    def test_cut_at_the_limit(self):
        with self.assertRaises(openai.LengthFinishReasonError):
            self.client.chat.completions.parse(model="chat", messages=user("solve"), response_format=Solution, max_tokens=2)


class Embeddings(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI()
        self.addCleanup(self.client.close)

    def test_the_default_form_and_floats_agree(self):
        texts = ["water", "a gate above"]
        default = self.client.embeddings.create(model="embed", input=texts)  # asks for base64 and decodes it
        floats = self.client.embeddings.create(model="embed", input=texts, encoding_format="float")
        self.assertEqual([d.index for d in default.data], [0, 1])
        self.assertGreater(default.usage.prompt_tokens, 0)
        for a, b in zip(default.data, floats.data):
            self.assertEqual(len(a.embedding), 16)
            for x, y in zip(a.embedding, b.embedding, strict=True):
                self.assertAlmostEqual(x, y, places=6)
        self.assertNotEqual(default.data[0].embedding, default.data[1].embedding)

    def test_one_text_and_tokens(self):
        self.assertEqual(len(self.client.embeddings.create(model="embed", input="water").data), 1)
        self.assertEqual(len(self.client.embeddings.create(model="embed", input=[1, 2, 3]).data), 1)
        self.assertEqual(len(self.client.embeddings.create(model="embed", input=[[1, 2], [3]]).data), 2)


class Models(unittest.TestCase):
    def test_list_and_one(self):
        with openai.OpenAI() as client:
            ids = [m.id for m in client.models.list()]
            self.assertIn("chat", ids)
            self.assertIn("embed", ids)
            self.assertEqual(client.models.retrieve("chat").id, "chat")
            with self.assertRaises(openai.NotFoundError):
                client.models.retrieve("no-such-model")


class Errors(unittest.TestCase):
    """With the SDK's own retries on, as a user has them: after Penstock has used up its tries, the SDK must not add any."""

    def setUp(self):
        self.client = openai.OpenAI()
        self.addCleanup(self.client.close)

    def ask(self, model, **more):
        return self.client.chat.completions.create(model=model, messages=user("say:3"), **more)

    def test_unknown_key(self):
        with openai.OpenAI(api_key="psk_wrong") as client, self.assertRaises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model="chat", messages=user("say:3"))
        self.assertEqual(caught.exception.code, "invalid_api_key")
        self.assertTrue(caught.exception.request_id)

    def test_unknown_model(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.ask("chatt")
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertIn("chat", caught.exception.message)

    def test_bad_request(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.chat.completions.create(model="chat", messages="hello")
        self.assertIn("messages", caught.exception.message)

    def test_refused_by_the_provider(self):
        before = calls("refusing")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.ask("refusing")
        self.assertIn("no poems today", caught.exception.message)
        self.assertEqual(caught.exception.code, "no_poems")
        self.assertEqual(calls("refusing") - before, 1)

    def test_all_targets_fail(self):
        before = calls("failing-a", "failing-b")
        with self.assertRaises(openai.InternalServerError) as caught:
            self.ask("failing")
        self.assertEqual(caught.exception.status_code, 502)
        self.assertEqual(caught.exception.response.headers["x-should-retry"], "false")
        self.assertEqual(calls("failing-a", "failing-b") - before, 2, "each target is tried once, and the SDK adds nothing")

    def test_all_targets_limited(self):
        before = calls("limited-a", "limited-b")
        with self.assertRaises(openai.RateLimitError) as caught:
            self.ask("limited")
        self.assertIn("retry-after", caught.exception.response.headers)
        self.assertEqual(calls("limited-a", "limited-b") - before, 2)

    def test_no_first_token_in_time(self):
        before = calls("silent")
        with self.assertRaises(openai.InternalServerError) as caught:
            self.ask("silent")
        self.assertEqual(caught.exception.status_code, 504)
        self.assertIn("first_token", caught.exception.message)
        self.assertEqual(calls("silent") - before, 1)

    def test_fallback_hides_a_failure(self):
        before = calls("broken")
        raw = self.client.chat.completions.with_raw_response.create(model="mended", messages=user("echo:well"))
        self.assertEqual(raw.parse().choices[0].message.content, "well")
        self.assertEqual(raw.headers["x-penstock-tries"], "2")
        self.assertEqual(calls("broken") - before, 1)

    def test_cut_stream_raises(self):
        text = ""
        with self.assertRaises(openai.APIError):
            for event in self.ask("cut", stream=True):
                text += event.choices[0].delta.content or ""
        self.assertTrue(text, "what came before the cut is there")

    def test_cut_stream_raises_in_the_helper(self):
        with self.assertRaises(openai.APIError):
            with self.client.chat.completions.stream(model="cut", messages=user("say:9")) as stream:
                for _ in stream:
                    pass


class Abort(unittest.TestCase):
    def test_in_mid_stream(self):
        seq = last_call()
        with openai.OpenAI() as client:
            stream = client.chat.completions.create(model="slow", messages=user("go"), stream=True)
            for _, _ in zip(range(3), stream):
                pass
            left = time.time()
            stream.close()
        self.assertLessEqual(cancelled_since("slow", seq) - left, 1.0)

    def test_before_the_first_token(self):
        seq = last_call()
        with openai.OpenAI(max_retries=0, timeout=0.4) as client, self.assertRaises(openai.APITimeoutError):
            client.chat.completions.create(model="silent", messages=user("go"))
        left = time.time()
        self.assertLessEqual(cancelled_since("silent", seq) - left, 1.0)

    def test_of_an_async_task(self):
        async def leave():
            async with openai.AsyncOpenAI() as client:
                async def read():
                    async for _ in await client.chat.completions.create(model="slow", messages=user("go"), stream=True):
                        started.set()

                started = asyncio.Event()
                task = asyncio.create_task(read())
                await started.wait()
                left = time.time()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                return left

        seq = last_call()
        left = asyncio.run(leave())
        self.assertLessEqual(cancelled_since("slow", seq) - left, 1.0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
