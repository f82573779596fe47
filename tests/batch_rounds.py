"""What the tests of rounds of files share: an agent that asks by files, and their answers."""

from __future__ import annotations

from batches import lines, lines_to
from endpoint_agent import TEXT
from endpoints import chat

from agentic_vision import VisionAgent
from agentic_vision.batch.filed import FiledPolicy
from agentic_vision.batch.rounds import next_round


def filed(**options):
    return VisionAgent(FiledPolicy("m", profile=TEXT), **options)


def result(request, body, status=200):
    return {
        "id": "batch_req_1",
        "custom_id": request["custom_id"],
        "response": {"status_code": status, "request_id": "1", "body": body},
        "error": None,
    }


def answer(made, reply):
    """Put a file of results, last request first, beside every file of requests."""
    for path in made.files:
        results = [reply(request) for request in reversed(lines(path))]
        lines_to(path.with_name(path.name.replace("requests", "output")), [one for one in results if one])


def says(*texts):
    """A model that says `texts`, turn by turn."""

    def reply(request):
        said = sum(message["role"] == "assistant" for message in request["body"]["messages"])
        return result(request, chat(texts[min(said, len(texts) - 1)]))

    return reply


def rounds(given, folder, agent, reply):
    count = []
    while (made := next_round(given, folder, agent)).requests:
        count.append(made.requests)
        answer(made, reply)
    return count, made.tally
