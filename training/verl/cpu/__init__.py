"""What lets stock verl train on a machine without a GPU: a platform, a training engine and a rollout server.

Importing this package registers the platform, and nothing that is slow to import: verl does it in every process
(`VERL_USE_EXTERNAL_MODULES`). The engine and the server are registered by `backend`, which verl imports with the model
(`actor_rollout_ref.model.external_lib`).
"""

from . import platform as platform
