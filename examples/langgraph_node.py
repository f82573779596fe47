"""The agent as a node of a LangGraph graph whose state is a list of messages.

python examples/langgraph_node.py
"""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from agentic_vision import VisionAgent
from agentic_vision.langchain import agent_node

RECEIPT = Path(__file__).with_name("receipt.png")

graph = StateGraph(MessagesState)
graph.add_node("look", agent_node(VisionAgent()))
graph.add_edge(START, "look")
graph.add_edge("look", END)

image = {"type": "image", "base64": base64.b64encode(RECEIPT.read_bytes()).decode(), "mime_type": "image/png"}
question = HumanMessage(content=[image, {"type": "text", "text": "What is the total?"}])
state = asyncio.run(graph.compile().ainvoke({"messages": [question]}))

answer = state["messages"][-1]
print(answer.text)
usage = answer.response_metadata["trajectory"]["usage"]
print(f"{usage['visual_tokens']} visual tokens instead of {usage['full_resolution_tokens']}")
