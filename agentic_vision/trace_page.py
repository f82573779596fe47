"""The look of a trace page: its skeleton and its style sheet. `trace.py` fills it in.

One file, no script, nothing fetched: the content security policy forbids all but inline styles and data: images.
"""

from __future__ import annotations

from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="generator" content="agentic-vision">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<header>
<p class="eyebrow">What the agent looked at</p>
<h1 dir="auto">$question</h1>
$answer
$budget
</header>
<div class="columns">
<aside>$sources</aside>
<ol class="steps">$steps</ol>
</div>
<footer>$footer</footer>
</main>
</body>
</html>
""")

STYLE = """
:root { color-scheme: light dark; --paper: #f6f5f1; --card: #ffffff; --ink: #1d2129; --soft: #667085; --line: #dfe0e4;
  --wash: #f0f1f4; --good: #0b7a55; --good-wash: #e3f5ec; --bad: #b42318; --bad-wash: #fdeceb; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --card: #1d2026; --ink: #e9ebef; --soft: #98a2b3;
  --line: #343a45; --wash: #272b33; --good: #5fd8a8; --good-wash: #15352a; --bad: #ff9b8f; --bad-wash: #3b1f1d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 36px 28px 24px; }
h1 { font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; margin: 2px 0 16px; letter-spacing: -.015em;
  text-wrap: balance; overflow-wrap: anywhere; }
p { margin: 0; }
.eyebrow, .label { font-size: .75rem; font-weight: 600; letter-spacing: .07em; text-transform: uppercase; color: var(--soft); }
.answer { display: inline-flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; max-width: 100%; padding: 10px 18px;
  border-radius: 12px; background: var(--good-wash); }
.answer strong { font-size: 1.35rem; color: var(--good); overflow-wrap: anywhere; white-space: pre-wrap; }
.answer.none { background: var(--bad-wash); } .answer.none strong { color: var(--bad); }
.answer span, .meta { color: var(--soft); font-size: .875rem; }
.budget { margin: 22px 0 30px; }
.bar { display: flex; height: 18px; border-radius: 9px; overflow: hidden; background: var(--wash); gap: 2px; position: relative; }
.bar i { display: block; min-width: 3px; }
.bar b { position: absolute; top: 0; bottom: 0; width: 2px; background: var(--ink); }
.budget p { margin-top: 8px; color: var(--soft); font-size: .9rem; } .budget p b { color: var(--ink); }
.columns { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); gap: 32px; align-items: start; }
aside { position: sticky; top: 20px; display: grid; gap: 20px; }
figure { margin: 0; }
.source { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 14px; }
.source svg { display: block; width: 100%; height: auto; max-height: 74vh; overflow: visible; }
figcaption { margin-top: 10px; color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.steps { list-style: none; margin: 0; padding: 0 0 0 20px; border-left: 2px solid var(--line); display: grid; gap: 16px; }
.steps > li { position: relative; background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 14px 16px; }
.steps > li::before { content: ""; position: absolute; left: -27px; top: 20px; width: 12px; height: 12px; border-radius: 50%;
  background: var(--mark, var(--soft)); box-shadow: 0 0 0 3px var(--paper); }
.head { display: flex; flex-wrap: wrap; gap: 2px 12px; justify-content: space-between; align-items: baseline; margin-bottom: 10px; }
.number { display: inline-block; min-width: 1.6em; padding: 0 .4em; margin-right: .5em; border-radius: 6px; text-align: center;
  background: var(--mark); color: #fff; font-weight: 700; font-size: .9rem; line-height: 1.6em; letter-spacing: 0; }
.seen { display: flex; justify-content: space-between; gap: 14px; align-items: flex-start; }
.seen img { display: block; flex: 0 1 auto; min-width: 0; height: auto; border-radius: 6px; border: 1px solid var(--line); }
.pixelated { image-rendering: pixelated; }
.seen svg { display: block; flex: 0 0 72px; width: 72px; max-height: 110px; }
blockquote { margin: 0 0 10px; padding-left: 12px; border-left: 3px solid var(--line); font-style: italic; white-space: pre-wrap;
  overflow-wrap: anywhere; }
code, pre { font: .875rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.call { display: block; padding: 8px 12px; border-radius: 8px; background: var(--wash); overflow-wrap: anywhere; }
.call + .call { margin-top: 6px; } .call b { color: var(--mark, var(--ink)); }
.said { padding: 8px 12px; border-radius: 8px; background: var(--good-wash); color: var(--good); font-weight: 600;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.failure { padding: 10px 12px; border-radius: 8px; background: var(--bad-wash); overflow-wrap: anywhere; white-space: pre-wrap; }
.failure b { display: block; color: var(--bad); }
details { margin-top: 10px; color: var(--soft); font-size: .85rem; } summary { cursor: pointer; }
pre { margin: 6px 0 0; padding: 10px; border-radius: 8px; background: var(--wash); white-space: pre-wrap; overflow-wrap: anywhere; }
footer { margin-top: 30px; padding-top: 14px; border-top: 1px solid var(--line); color: var(--soft); font-size: .8rem;
  overflow-wrap: anywhere; }
@media (max-width: 820px) { main { padding: 22px 16px; } .columns { grid-template-columns: minmax(0, 1fr); gap: 22px; }
  aside { position: static; } .source svg { max-height: none; } }
@media print { aside { position: static; } .steps > li { break-inside: avoid; } }
"""
