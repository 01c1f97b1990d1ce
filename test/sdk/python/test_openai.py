"""OpenAI's SDK for Python, set up as a user would, by OPENAI_BASE_URL and OPENAI_API_KEY alone."""

import asyncio
import json
import time
import unittest

import openai
from judge import PIXEL, calls, cancelled_since, everywhere, last_call, sent, troubles
from pydantic import BaseModel

# The classes that users catch, by status.
CLASSES = {
    400: openai.BadRequestError, 403: openai.PermissionDeniedError, 413: openai.APIStatusError, 429: openai.RateLimitError, 502: openai.InternalServerError,
    503: openai.InternalServerError, 504: openai.InternalServerError,
}


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

    @everywhere()
    def test_plain(self, _, model):
        answer = self.client.chat.completions.create(model=model, messages=user("echo:Hello, \"wörld\"\n✓"))
        self.assertEqual(answer.choices[0].message.content, 'Hello, "wörld"\n✓')
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.model, model)
        self.assertGreater(answer.usage.prompt_tokens, 0)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertTrue(answer._request_id)

    @everywhere()
    def test_headers(self, dialect, model):
        raw = self.client.chat.completions.with_raw_response.create(model=model, messages=user("say:5"))
        self.assertEqual(raw.headers["x-penstock-target"], f"{dialect}/chat-1")
        self.assertEqual(raw.headers["x-penstock-tries"], "1")
        self.assertGreater(float(raw.headers["x-penstock-cost"]), 0)
        self.assertEqual(raw.parse().usage.completion_tokens, 5)

    def test_several_choices(self):
        answer = self.client.chat.completions.create(model="chat-openai", messages=user("say:3"), n=2, logprobs=True, top_logprobs=2)
        self.assertEqual([c.index for c in answer.choices], [0, 1])
        self.assertEqual(len(answer.choices[1].logprobs.content[0].top_logprobs), 2)

    @everywhere()
    def test_stream(self, _, model):
        text, finish = "", None
        for event in self.client.chat.completions.create(model=model, messages=user("echo:one two three"), stream=True):
            self.assertEqual(event.model, model)
            self.assertIsNone(event.usage, "usage, though it was not asked for")
            for choice in event.choices:  # Azure's first event has none
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
        self.assertEqual((text, finish), ("one two three", "stop"))

    @everywhere()
    def test_stream_with_usage(self, _, model):
        events = list(self.client.chat.completions.create(
            model=model, messages=user("say:7"), stream=True, stream_options={"include_usage": True}))
        self.assertEqual(events[-1].choices, [])
        self.assertEqual(events[-1].usage.completion_tokens, 7)
        self.assertTrue(all(e.usage is None for e in events[:-1]))

    @everywhere()
    def test_async_stream(self, _, model):
        async def talk():
            async with openai.AsyncOpenAI() as client:
                stream = await client.chat.completions.create(model=model, messages=user("echo:a b c"), stream=True)
                return "".join([c.delta.content or "" async for e in stream for c in e.choices])

        self.assertEqual(asyncio.run(talk()), "a b c")

    def test_unknown_members_reach_the_provider(self):
        self.client.chat.completions.create(model="chat-openai", messages=user("say:1"), extra_body={"x_new_thing": {"a": 12345678901234567890}})
        self.assertEqual(json.loads(sent()["body"])["x_new_thing"], {"a": 12345678901234567890})

    @everywhere()
    def test_the_clients_key_stays_here(self, _, model):
        self.client.chat.completions.create(model=model, messages=user("say:1"))
        self.assertNotIn(self.client.api_key, json.dumps(sent()))


class Tools(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI()
        self.addCleanup(self.client.close)

    @everywhere()
    def test_plain(self, _, model):
        answer = self.client.chat.completions.create(
            model=model, messages=user("call:Weather"), tools=[openai.pydantic_function_tool(Weather)])
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
        call = answer.choices[0].message.tool_calls[0]
        self.assertEqual(call.function.name, "Weather")
        Weather.model_validate_json(call.function.arguments)

    @everywhere()
    def test_result_goes_back(self, _, model):
        first = self.client.chat.completions.create(
            model=model, messages=user("call:Weather"), tools=[openai.pydantic_function_tool(Weather)])
        message = first.choices[0].message
        history = user("echo:sunny") + [
            message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"},
                   {"role": "user", "content": "echo:sunny"}]
        second = self.client.chat.completions.create(model=model, messages=history)
        self.assertEqual(second.choices[0].message.content, "sunny")

    @everywhere("two-calls")
    def test_parallel_calls_streamed_by_the_helper(self, _, model):
        done = []
        with self.client.chat.completions.stream(
                model=model, messages=user("weather"), tools=[openai.pydantic_function_tool(Weather)]) as stream:
            for event in stream:
                if event.type == "tool_calls.function.arguments.done":
                    done.append(event.parsed_arguments)
            final = stream.get_final_completion()
        self.assertEqual(len(done), 2)
        self.assertTrue(all(isinstance(d, Weather) for d in done))
        self.assertEqual(len(final.choices[0].message.tool_calls), 2)
        self.assertEqual(final.choices[0].finish_reason, "tool_calls")


class Images(unittest.TestCase):
    @everywhere()
    def test_as_data(self, _, model):
        with openai.OpenAI() as client:
            answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PIXEL}}, {"type": "text", "text": "echo:a pixel"}]}])
        self.assertEqual(answer.choices[0].message.content, "a pixel")
        self.assertIn(PIXEL, sent()["body"])


class StructuredOutput(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI()
        self.addCleanup(self.client.close)

    @everywhere()
    def test_parse(self, _, model):
        answer = self.client.chat.completions.parse(model=model, messages=user("solve"), response_format=Solution)
        parsed = answer.choices[0].message.parsed
        self.assertIsInstance(parsed, Solution)
        self.assertTrue(parsed.steps)

    @everywhere()
    def test_streamed(self, _, model):
        with self.client.chat.completions.stream(model=model, messages=user("solve"), response_format=Solution) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        self.assertIsInstance(final.choices[0].message.parsed, Solution)

    @everywhere()
    def test_cut_at_the_limit(self, _, model):
        with self.assertRaises(openai.LengthFinishReasonError):
            self.client.chat.completions.parse(model=model, messages=user("solve"), response_format=Solution, max_tokens=2)


class Embeddings(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI()
        self.addCleanup(self.client.close)

    @everywhere("embed")
    def test_the_default_form_and_floats_agree(self, dialect, model):
        texts = ["water", "a gate above"]
        default = self.client.embeddings.create(model=model, input=texts)  # asks for base64 and decodes it
        floats = self.client.embeddings.create(model=model, input=texts, encoding_format="float")
        self.assertEqual([d.index for d in default.data], [0, 1])
        if dialect != "gemini":  # which does not say
            self.assertGreater(default.usage.prompt_tokens, 0)
        for a, b in zip(default.data, floats.data):
            self.assertEqual(len(a.embedding), 16)
            for x, y in zip(a.embedding, b.embedding, strict=True):
                self.assertAlmostEqual(x, y, places=6)
        self.assertNotEqual(default.data[0].embedding, default.data[1].embedding)

    def test_one_text_and_tokens(self):
        self.assertEqual(len(self.client.embeddings.create(model="embed-openai", input="water").data), 1)
        self.assertEqual(len(self.client.embeddings.create(model="embed-openai", input=[1, 2, 3]).data), 1)
        self.assertEqual(len(self.client.embeddings.create(model="embed-openai", input=[[1, 2], [3]]).data), 2)


class Models(unittest.TestCase):
    def test_list_and_one(self):
        with openai.OpenAI() as client:
            ids = [m.id for m in client.models.list()]
            self.assertIn("chat-gemini", ids)
            self.assertIn("embed-gemini", ids)
            self.assertEqual(client.models.retrieve("chat-gemini").id, "chat-gemini")
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
            client.chat.completions.create(model="chat-openai", messages=user("say:3"))
        self.assertEqual(caught.exception.code, "invalid_api_key")
        self.assertTrue(caught.exception.request_id)

    def test_unknown_model(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.ask("chat-openia")
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertIn("chat-openai", caught.exception.message)

    def test_bad_request(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.chat.completions.create(model="chat-openai", messages="hello")
        self.assertIn("messages", caught.exception.message)

    def test_too_large(self):
        with self.assertRaises(openai.APIStatusError) as caught:
            self.ask("chat-openai", user="x" * 1_100_000)
        self.assertEqual((caught.exception.status_code, caught.exception.code), (413, "body_too_large"))

    @troubles("openai")
    def test_troubles(self, situation, dialect, model, told, error):
        for stream in (False, True):
            before = calls(situation, dialect)
            with self.assertRaises(CLASSES[error["status"]]) as caught:
                self.ask(model, stream=stream)
            e = caught.exception
            self.assertEqual(e.status_code, error["status"])
            self.assertIn(told.get("says", ""), e.message)
            self.assertEqual(e.request_id, e.response.headers["x-request-id"])
            self.assertEqual("retry-after" in e.response.headers, told.get("retry_after", False))
            self.assertEqual(calls(situation, dialect) - before, told["calls"], "the SDK adds no tries of its own")

    @everywhere("spent")
    def test_a_spent_budget_is_not_tried_again(self, _, model):
        asked = []
        with openai.DefaultHttpxClient(event_hooks={"request": [asked.append]}) as http, openai.OpenAI(http_client=http) as client:
            with self.assertRaises(openai.RateLimitError) as caught:
                client.chat.completions.create(model=model, messages=user("say:3"))
        self.assertEqual((caught.exception.code, len(asked)), ("insufficient_quota", 1))
        self.assertEqual(caught.exception.body["penstock"]["free_nano"], 0)

    @everywhere()
    def test_rate_limits(self, _, model):
        raw = self.client.chat.completions.with_raw_response.create(model=model, messages=user("say:3"))
        self.assertEqual(raw.headers["x-ratelimit-limit-requests"], "100000")
        self.assertLess(int(raw.headers["x-ratelimit-remaining-requests"]), 100000)

    @everywhere(but=("openai", "azure"))
    def test_what_cannot_be_said_is_refused(self, dialect, model):
        before = calls("chat", dialect)
        with self.assertRaises(openai.BadRequestError) as caught:
            self.ask(model, logprobs=True, n=2)
        self.assertIn(caught.exception.param, ("n", "logprobs"))
        self.assertEqual(calls("chat", dialect) - before, 0, "before anything is spent")

    @everywhere("mended")
    def test_fallback_hides_a_failure(self, dialect, model):
        before = calls("mended", dialect)
        raw = self.client.chat.completions.with_raw_response.create(model=model, messages=user("echo:well"))
        self.assertEqual(raw.parse().choices[0].message.content, "well")
        self.assertEqual(raw.headers["x-penstock-tries"], "2")
        self.assertEqual(calls("mended", dialect) - before, 2)

    def check_broken(self, model):
        text = ""
        with self.assertRaises(openai.APIError):
            for event in self.ask(model, stream=True):
                text += "".join(c.delta.content or "" for c in event.choices)
        self.assertTrue(text, "what came before is there")
        with self.assertRaises(openai.APIError):
            with self.client.chat.completions.stream(model=model, messages=user("say:9")) as stream:
                for _ in stream:
                    pass

    @everywhere("cut")
    def test_cut_streams_raise(self, _, model):
        self.check_broken(model)

    @everywhere("erring")
    def test_errors_in_streams_raise(self, _, model):
        self.check_broken(model)


class Abort(unittest.TestCase):
    @everywhere("slow")
    def test_in_mid_stream(self, dialect, model):
        seq = last_call()
        with openai.OpenAI() as client:
            stream = client.chat.completions.create(model=model, messages=user("go"), stream=True)
            for _, _ in zip(range(3), stream):
                pass
            left = time.time()
            stream.close()
        self.assertLessEqual(cancelled_since("slow", dialect, seq) - left, 1.0)

    @everywhere("silent")
    def test_before_the_first_token(self, dialect, model):
        seq = last_call()
        with openai.OpenAI(max_retries=0, timeout=0.4) as client, self.assertRaises(openai.APITimeoutError):
            client.chat.completions.create(model=model, messages=user("go"))
        left = time.time()
        self.assertLessEqual(cancelled_since("silent", dialect, seq) - left, 1.0)

    @everywhere("slow")
    def test_of_an_async_task(self, dialect, model):
        async def leave():
            async with openai.AsyncOpenAI() as client:
                async def read():
                    async for _ in await client.chat.completions.create(model=model, messages=user("go"), stream=True):
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
        self.assertLessEqual(cancelled_since("slow", dialect, seq) - left, 1.0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
