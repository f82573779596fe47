"""How PocketVQA's pictures are drawn: one module a kind of scene, and `ink` for what they share."""
