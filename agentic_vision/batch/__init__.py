"""Many questions, from a file into a file: at once (`run.run_batch`), or by OpenAI's Batch API (`rounds.next_round`).

Nothing is imported here: the command line lists its commands without loading what they need.
"""
