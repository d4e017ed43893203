"""The screens: everything of the program that knows Gradio, one file a tab.

`layout.build_page` makes the page, `server.launch` serves it; `app.py` calls the two.  Nothing
else in `aios` imports this package, and nothing is imported here: Gradio takes seconds to load.

To add a tab, write `NAME_tab.py` with one public function `build_NAME_tab(context)` that opens
`gr.Tab("...")`, makes the tab's widgets and connects their events, and add it to `layout.TABS`.
A `PageContext` is the one thing that a tab is given: the predictor (safe from many threads, one
photo at a time), what is kept of each visitor, and who asks.  Long work takes a `concurrency_id`
of its own, so that photos do not wait behind it; files for a visitor belong into
`context.folder(request)`, which is removed when the visitor leaves.
"""
