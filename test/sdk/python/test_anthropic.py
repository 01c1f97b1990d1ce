"""Anthropic's SDK for Python, set up as a user would, by ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY alone."""

import asyncio
import os
import time
import unittest

import anthropic
from judge import DIALECTS, PIXEL, calls, cancelled_since, everywhere, last_call, sent, troubles
from pydantic import BaseModel

# The classes that users catch, by status.
CLASSES = {
    400: anthropic.BadRequestError, 403: anthropic.PermissionDeniedError,
    413: anthropic.ContentTooLargeError, 429: anthropic.RateLimitError, 502: anthropic.InternalServerError,
    504: anthropic.GatewayTimeoutError, 529: anthropic.OverloadedError,
}

WEATHER = {
    "name": "weather", "description": "Get the weather of a city.",
    "input_schema": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city", "days"],
    },
}


class Solution(BaseModel):
    answer: str
    sure: bool


def user(content):
    return [{"role": "user", "content": content}]


class Messages(unittest.TestCase):
    def setUp(self):
        self.client = anthropic.Anthropic()
        self.addCleanup(self.client.close)

    def ask(self, model, content, **more):
        return self.client.messages.create(**{"model": model, "max_tokens": 200, "system": "Be brief.", "messages": user(content), **more})

    def check_weather(self, block):
        self.assertEqual((block.type, block.name), ("tool_use", "weather"))
        self.assertTrue(block.id)
        self.assertIsInstance(block.input["city"], str)
        self.assertIsInstance(block.input["days"], int)

    @everywhere()
    def test_plain(self, dialect, model):
        raw = self.client.messages.with_raw_response.create(
            model=model, max_tokens=200, system="Be brief.", messages=user('echo:Hello, "wörld"\n✓'))
        message = raw.parse()
        self.assertEqual([(b.type, b.text) for b in message.content], [("text", 'Hello, "wörld"\n✓')])
        self.assertEqual((message.stop_reason, message.model, message.role, message.type), ("end_turn", model, "assistant", "message"))
        self.assertGreater(message.usage.input_tokens, 0)
        self.assertGreater(message.usage.output_tokens, 0)
        self.assertTrue(message._request_id)
        self.assertEqual(raw.headers["x-penstock-target"], f"{dialect}/chat-1")
        self.assertGreater(float(raw.headers["x-penstock-cost"]), 0)

    @everywhere()
    def test_cut_at_the_limit(self, _, model):
        message = self.ask(model, "echo:one two three four five", max_tokens=3)
        self.assertEqual((message.stop_reason, message.usage.output_tokens), ("max_tokens", 3))

    @everywhere()
    def test_raw_stream(self, _, model):
        kinds, text = [], ""
        for event in self.ask(model, "echo:one two three", stream=True):
            kinds.append(event.type)
            if event.type == "content_block_delta":
                text += event.delta.text
        self.assertEqual(text, "one two three")
        self.assertEqual((kinds[0], kinds[-2], kinds[-1]), ("message_start", "message_delta", "message_stop"))

    @everywhere()
    def test_stream_by_the_helper(self, _, model):
        with self.client.messages.stream(model=model, max_tokens=200, messages=user("echo:one two three")) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        self.assertEqual((text, stream.get_final_text()), ("one two three", "one two three"))
        self.assertEqual((final.stop_reason, final.model, final.usage.output_tokens), ("end_turn", model, 3))
        self.assertGreater(final.usage.input_tokens, 0)

    @everywhere()
    def test_stream_of_an_async_client(self, _, model):
        async def talk(model):
            async with anthropic.AsyncAnthropic() as client:
                async with client.messages.stream(model=model, max_tokens=200, messages=user("echo:a b c")) as stream:
                    return "".join([text async for text in stream.text_stream])

        self.assertEqual(asyncio.run(talk(model)), "a b c")

    @everywhere("thinking")
    def test_reasoning(self, _, model):
        plain = self.ask(model, "echo:so")
        self.assertEqual([b.type for b in plain.content], ["thinking", "text"])
        with self.client.messages.stream(model=model, max_tokens=200, messages=user("echo:so")) as stream:
            thought = [e.delta.thinking for e in stream if e.type == "content_block_delta" and e.delta.type == "thinking_delta"]
            final = stream.get_final_message()
        self.assertEqual([b.type for b in final.content], ["thinking", "text"])
        self.assertEqual(final.content[0].thinking, "".join(thought))
        # It goes back as it came.
        again = self.client.messages.create(model=model, max_tokens=200, messages=[
            *user("echo:so"), {"role": "assistant", "content": final.content}, *user("echo:and so on")])
        self.assertEqual(again.content[-1].text, "and so on")

    @everywhere()
    def test_tool_and_its_result(self, _, model):
        first = self.ask(model, "call:weather", tools=[WEATHER])
        self.assertEqual(first.stop_reason, "tool_use")
        call = first.content[-1]
        self.check_weather(call)
        second = self.client.messages.create(model=model, max_tokens=200, tools=[WEATHER], messages=[
            *user("call:weather"), {"role": "assistant", "content": first.content},
            *user([{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}, {"type": "text", "text": "echo:sunny"}])])
        self.assertEqual((second.content[0].text, second.stop_reason), ("sunny", "end_turn"))

    @everywhere()
    def test_tool_must_be_called(self, _, model):
        for choice in ({"type": "any"}, {"type": "tool", "name": "weather"}):
            self.check_weather(self.ask(model, "Hi", tools=[WEATHER], tool_choice=choice).content[-1])

    @everywhere()
    def test_arguments_streamed(self, _, model):
        pieces = ""
        with self.client.messages.stream(model=model, max_tokens=200, tools=[WEATHER], messages=user("call:weather")) as stream:
            for event in stream:
                if event.type == "input_json":
                    pieces += event.partial_json
                    snapshot = event.snapshot
            final = stream.get_final_message()
        self.check_weather(final.content[-1])
        self.assertEqual(snapshot, final.content[-1].input)
        self.assertTrue(pieces.startswith("{"))

    @everywhere("two-calls")
    def test_parallel_calls_and_their_results(self, _, model):
        plain = self.ask(model, "weather", tools=[WEATHER])
        with self.client.messages.stream(model=model, max_tokens=200, tools=[WEATHER], messages=user("weather")) as stream:
            streamed = stream.get_final_message()
        for message in (plain, streamed):
            uses = [b for b in message.content if b.type == "tool_use"]
            self.assertEqual((len(uses), len({u.id for u in uses}), message.stop_reason), (2, 2, "tool_use"))
            for use in uses:
                self.check_weather(use)
            results = [{"type": "tool_result", "tool_use_id": u.id, "content": [{"type": "text", "text": "sunny"}]} for u in uses]
            results[1].update(is_error=True, content="no such city")
            answer = self.client.messages.create(model=model.replace("two-calls", "chat"), max_tokens=200, tools=[WEATHER], messages=[
                *user("weather"), {"role": "assistant", "content": message.content}, *user([*results, {"type": "text", "text": "echo:done"}])])
            self.assertEqual(answer.content[0].text, "done")

    @everywhere()
    def test_tool_runner(self, dialect, model):
        @anthropic.beta_tool
        def weather(city: str, days: int) -> str:
            """Get the weather of a city.

            Args:
                city: its name
                days: how many
            """
            asked.append((city, days))
            return "sunny"

        # The SDK asks for a conversation that the provider holds, unless it is told not to, and goes on without where it is
        # refused. The simulated provider of this dialect holds none.
        threads = {"thread": False} if dialect == "anthropic" else {}
        asked = []
        runner = self.client.beta.messages.tool_runner(
            model=model, max_tokens=200, tools=[weather], messages=user("call:weather"), max_iterations=2, **threads)
        turns = list(runner)
        self.assertEqual((len(turns), turns[0].stop_reason), (2, "tool_use"))
        self.assertTrue(asked)

    @everywhere()
    def test_structured_output(self, _, model):
        parsed = self.client.messages.parse(model=model, max_tokens=200, messages=user("solve"), output_format=Solution)
        self.assertIsInstance(parsed.parsed_output, Solution)
        with self.client.messages.stream(model=model, max_tokens=200, messages=user("solve"), output_format=Solution) as stream:
            final = stream.get_final_message()
        self.assertIsInstance(final.parsed_output, Solution)

    @everywhere()
    def test_image(self, _, model):
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
        message = self.ask(model, [image, {"type": "text", "text": "echo:a pixel"}])
        self.assertEqual(message.content[0].text, "a pixel")
        self.assertIn(PIXEL, sent()["body"])

    @everywhere()
    def test_document(self, _, model):
        document = {"type": "document", "title": "A plan", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}}
        message = self.ask(model, [document, {"type": "text", "text": "echo:read"}])
        self.assertEqual(message.content[0].text, "read")
        self.assertIn("JVBERi0xLjQK", sent()["body"])

    @everywhere()
    def test_count_tokens(self, _, model):
        short = self.client.messages.count_tokens(model=model, messages=user("Hi"))
        long = self.client.messages.count_tokens(model=model, system="Be brief.", tools=[WEATHER], messages=user("How many are these? " * 20))
        self.assertGreater(short.input_tokens, 0)
        self.assertGreater(long.input_tokens, short.input_tokens + 80)


class Versions(unittest.TestCase):
    @everywhere()
    def test_both(self, dialect, model):
        for version in ("2023-06-01", "2026-10-21"):
            with anthropic.Anthropic(default_headers={"anthropic-version": version}) as client:
                message = client.messages.create(model=model, max_tokens=200, messages=user("echo:hi"))
            self.assertEqual(message.content[0].text, "hi")
            if dialect == "anthropic":
                self.assertEqual(sent()["header"]["Anthropic-Version"], [version])

    @everywhere()
    def test_betas(self, dialect, model):
        with anthropic.Anthropic() as client:
            message = client.beta.messages.create(
                model=model, max_tokens=200, messages=user("echo:hi"), betas=["a-2026-01-01", "b-2026-02-02"])
            self.assertEqual(message.content[0].text, "hi")
            if dialect == "anthropic":
                self.assertEqual(sent()["header"]["Anthropic-Beta"], ["a-2026-01-01,b-2026-02-02"])
            with client.beta.messages.stream(model=model, max_tokens=200, messages=user("echo:hi"), betas=["a-2026-01-01"]) as stream:
                self.assertEqual(stream.get_final_text(), "hi")

    @everywhere()
    def test_the_key_as_x_api_key(self, _, model):
        headers = {"authorization": anthropic.omit, "x-api-key": os.environ["ANTHROPIC_API_KEY"]}
        with anthropic.Anthropic(default_headers=headers) as client:
            self.assertEqual(client.messages.create(model=model, max_tokens=9, messages=user("echo:hi")).content[0].text, "hi")


class Models(unittest.TestCase):
    def test_list_and_one(self):
        with anthropic.Anthropic() as client:
            models = list(client.models.list(limit=20))
            self.assertTrue(all(m.type == "model" and m.display_name and m.created_at for m in models))
            self.assertIn("chat-gemini", [m.id for m in models])
            self.assertEqual(client.models.retrieve("chat-gemini").id, "chat-gemini")
            with self.assertRaises(anthropic.NotFoundError):
                client.models.retrieve("no-such-model")


class Errors(unittest.TestCase):
    """With the SDK's own retries on, as a user has them: after Penstock has used up its tries, the SDK must not add any."""

    def setUp(self):
        self.client = anthropic.Anthropic()
        self.addCleanup(self.client.close)

    def ask(self, model, **more):
        return self.client.messages.create(**{"model": model, "max_tokens": 20, "messages": user("say:3"), **more})

    @troubles("anthropic")
    def test_troubles(self, situation, dialect, model, told, error):
        for stream in (False, True):
            before = calls(situation, dialect)
            with self.assertRaises(CLASSES[error["status"]]) as caught:
                self.ask(model, stream=stream)
            e = caught.exception
            self.assertEqual((e.status_code, e.type), (error["status"], error["type"]))
            self.assertIn(told.get("says", ""), e.api_message)
            self.assertEqual(e.request_id, e.response.headers["x-request-id"])
            self.assertEqual("retry-after" in e.response.headers, told.get("retry_after", False))
            self.assertEqual(calls(situation, dialect) - before, told["calls"], "the SDK adds no tries of its own")

    @everywhere("spent")
    def test_a_spent_budget_is_not_tried_again(self, _, model):
        asked = []
        with anthropic.DefaultHttpxClient(event_hooks={"request": [asked.append]}) as http, anthropic.Anthropic(http_client=http) as client:
            with self.assertRaises(anthropic.RateLimitError) as caught:
                client.messages.create(model=model, max_tokens=20, messages=user("say:3"))
        details = caught.exception.body["error"]["details"]
        self.assertEqual((details["error_code"], details["penstock"]["free_nano"], len(asked)), ("insufficient_quota", 0, 1))

    @everywhere()
    def test_rate_limits(self, _, model):
        raw = self.client.messages.with_raw_response.create(model=model, max_tokens=20, messages=user("say:3"))
        self.assertEqual(raw.headers["anthropic-ratelimit-requests-limit"], "100000")
        self.assertLess(int(raw.headers["anthropic-ratelimit-requests-remaining"]), 100000)

    def test_unknown_key(self):
        with anthropic.Anthropic(api_key="psk_wrong") as client, self.assertRaises(anthropic.AuthenticationError) as caught:
            client.messages.create(model="chat-anthropic", max_tokens=9, messages=user("Hi"))
        self.assertEqual((caught.exception.type, caught.exception.error_code), ("authentication_error", "invalid_api_key"))

    def test_unknown_model(self):
        with self.assertRaises(anthropic.NotFoundError) as caught:
            self.ask("chatt")
        self.assertEqual(caught.exception.type, "not_found_error")

    @everywhere(but=("anthropic",))  # which is passed on what it was sent
    def test_bad_request(self, _, model):
        with self.assertRaises(anthropic.BadRequestError) as caught:
            self.ask(model, messages="hello")
        self.assertIn("messages", caught.exception.api_message)

    def test_too_large(self):
        with self.assertRaises(anthropic.ContentTooLargeError) as caught:
            self.ask("chat-anthropic", messages=user("x" * 1_100_000))
        self.assertEqual(caught.exception.type, "request_too_large")

    @everywhere("mended")
    def test_fallback_hides_a_failure(self, dialect, model):
        before = calls("mended", dialect)
        raw = self.client.messages.with_raw_response.create(model=model, max_tokens=20, messages=user("echo:well"))
        self.assertEqual((raw.parse().content[0].text, raw.headers["x-penstock-tries"]), ("well", "2"))
        self.assertEqual(calls("mended", dialect) - before, 2)

    def check_broken(self, model):
        text = ""
        with self.assertRaises(anthropic.APIError):
            for event in self.ask(model, stream=True, messages=user("say:9")):
                text += event.delta.text if event.type == "content_block_delta" else ""
        self.assertTrue(text, "what came before is there")
        with self.assertRaises(anthropic.APIError):
            with self.client.messages.stream(model=model, max_tokens=20, messages=user("say:9")) as stream:
                stream.get_final_message()

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
        with anthropic.Anthropic() as client:
            with client.messages.stream(model=model, max_tokens=4000, messages=user("go")) as stream:
                for _, _ in zip(range(3), stream.text_stream):
                    pass
                left = time.time()
        self.assertLessEqual(cancelled_since("slow", dialect, seq) - left, 1.0)

    @everywhere("silent")
    def test_before_the_first_token(self, dialect, model):
        seq = last_call()
        with anthropic.Anthropic(max_retries=0, timeout=0.4) as client, self.assertRaises(anthropic.APITimeoutError):
            client.messages.create(model=model, max_tokens=20, messages=user("go"))
        left = time.time()
        self.assertLessEqual(cancelled_since("silent", dialect, seq) - left, 1.0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
