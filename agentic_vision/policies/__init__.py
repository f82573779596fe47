"""What the next turn can come from: an endpoint, local weights, a LangChain chat model, a script."""
