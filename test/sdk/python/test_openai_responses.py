"""OpenAI's SDK for Python by responses, which are kept to go on from."""

import time
import unittest

import openai
from judge import PIXEL, cancelled_since, everywhere, last_call, sent, troubles
from pydantic import BaseModel
from test_openai import CLASSES


class Weather(BaseModel):
    """Get the weather of a city."""

    city: str
    days: int


class Solution(BaseModel):
    answer: str
    sure: bool


class Responses(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI()
        self.addCleanup(self.client.close)

    def ask(self, model, said, **more):
        return self.client.responses.create(model=model, instructions="Be brief.", input=said, **more)

    @everywhere()
    def test_plain(self, _, model):
        answer = self.ask(model, 'echo:Hello, "wörld"\n✓')
        self.assertEqual((answer.output_text, answer.status, answer.model), ('Hello, "wörld"\n✓', "completed", model))
        self.assertGreater(answer.usage.input_tokens, 0)
        self.assertEqual(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)

    @everywhere()
    def test_cut_at_the_limit(self, _, model):
        answer = self.ask(model, "echo:one two three four five", max_output_tokens=3)
        self.assertEqual((answer.status, answer.incomplete_details.reason), ("incomplete", "max_output_tokens"))

    @everywhere()
    def test_raw_stream(self, _, model):
        events = list(self.ask(model, "echo:one two three", stream=True))
        self.assertEqual([e.sequence_number for e in events], list(range(len(events))))
        self.assertEqual((events[0].type, events[-1].type), ("response.created", "response.completed"))
        self.assertEqual("".join(e.delta for e in events if e.type == "response.output_text.delta"), "one two three")
        self.assertEqual(events[-1].response.output_text, "one two three")

    @everywhere()
    def test_stream_by_the_helper(self, _, model):
        with self.client.responses.stream(model=model, input="echo:one two three") as stream:
            text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
            final = stream.get_final_response()
        self.assertEqual((text, final.output_text, final.usage.output_tokens), ("one two three", "one two three", 3))

    @everywhere("thinking")
    def test_reasoning(self, _, model):
        with self.client.responses.stream(model=model, input="echo:so") as stream:
            stream.until_done()
            final = stream.get_final_response()
        self.assertEqual(final.output_text, "so")
        self.assertIn("message", [i.type for i in final.output])
        again = self.ask(model, [{"role": "user", "content": "echo:so"}, *final.output, {"role": "user", "content": "echo:and so on"}])
        self.assertEqual(again.output_text, "and so on")

    @everywhere()
    def test_tool_and_its_result(self, _, model):
        tools = [openai.pydantic_function_tool(Weather)["function"] | {"type": "function"}]
        first = self.ask(model, "call:Weather", tools=tools)
        call = first.output[-1]
        self.assertEqual((call.type, call.name), ("function_call", "Weather"))
        Weather.model_validate_json(call.arguments)
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        said = [{"role": "user", "content": "call:Weather"}, *first.output, result, {"role": "user", "content": "echo:sunny"}]
        self.assertEqual(self.ask(model, said, tools=tools).output_text, "sunny")
        # The same, gone on from what was kept.
        kept = self.ask(model, [result, {"role": "user", "content": "echo:kept"}], tools=tools, previous_response_id=first.id)
        self.assertEqual((kept.output_text, kept.previous_response_id), ("kept", first.id))
        self.assertIn(call.call_id, sent()["body"])

    @everywhere("two-calls")
    def test_parallel_calls_streamed(self, _, model):
        tools = [openai.pydantic_function_tool(Weather)["function"] | {"type": "function"}]
        with self.client.responses.stream(model=model, input="weather", tools=tools) as stream:
            done = [e.arguments for e in stream if e.type == "response.function_call_arguments.done"]
            final = stream.get_final_response()
        calls = [i for i in final.output if i.type == "function_call"]
        self.assertEqual((len(done), len({c.call_id for c in calls})), (2, 2))
        for arguments in done:
            Weather.model_validate_json(arguments)

    @everywhere()
    def test_what_is_kept(self, _, model):
        first = self.ask(model, "echo:the gate is open")
        self.assertEqual(self.client.responses.retrieve(first.id).output_text, "the gate is open")
        with self.client.responses.stream(model=model, input="echo:so it is", previous_response_id=first.id) as stream:
            self.assertEqual(stream.get_final_response().output_text, "so it is")
        self.assertIn("the gate is open", sent()["body"])
        self.client.responses.delete(first.id)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.retrieve(first.id)
        with self.assertRaises(openai.APIStatusError):
            self.ask(model, "Hi", previous_response_id=first.id)

    @everywhere()
    def test_what_is_not_kept(self, _, model):
        answer = self.ask(model, "echo:gone", store=False)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.retrieve(answer.id)

    @everywhere()
    def test_structured_output(self, _, model):
        parsed = self.client.responses.parse(model=model, input="solve", text_format=Solution)
        self.assertIsInstance(parsed.output_parsed, Solution)
        with self.client.responses.stream(model=model, input="solve", text_format=Solution) as stream:
            self.assertIsInstance(stream.get_final_response().output_parsed, Solution)

    @everywhere()
    def test_image(self, _, model):
        content = [{"type": "input_image", "image_url": "data:image/png;base64," + PIXEL}, {"type": "input_text", "text": "echo:a pixel"}]
        self.assertEqual(self.ask(model, [{"role": "user", "content": content}]).output_text, "a pixel")
        self.assertIn(PIXEL, sent()["body"])

    @troubles("openai")
    def test_troubles(self, situation, dialect, model, told, error):
        if situation == "silent":  # which takes long, and is told as in chats
            return
        with self.assertRaises(CLASSES[error["status"]]) as caught:
            self.ask(model, "say:3")
        self.assertEqual(caught.exception.status_code, error["status"])
        self.assertIn(told.get("says", ""), caught.exception.message)

    @everywhere("cut")
    def test_cut_streams_are_told(self, _, model):
        text, failed = "", False
        try:
            for event in self.ask(model, "say:9", stream=True):
                text += event.delta if event.type == "response.output_text.delta" else ""
                failed = failed or event.type == "response.failed"
        except openai.APIError:
            failed = True
        self.assertTrue(text and failed)

    @everywhere("slow")
    def test_abort_in_mid_stream(self, dialect, model):
        seq = last_call()
        stream = self.ask(model, "go", stream=True, max_output_tokens=4000)
        for event in stream:
            if event.type == "response.output_text.delta":
                break
        left = time.time()
        stream.close()
        self.assertLessEqual(cancelled_since("slow", dialect, seq) - left, 1.0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
