"""Reports: `agentic-vision report DIR...` makes one page of evaluations and training runs.

`evaluations` and `training_runs` read folders, `charts` draws, `gallery` chooses trajectories to look at, `page` puts
them together, `watch` does so again whenever a folder grows. Nothing here needs the packages that train.
"""
