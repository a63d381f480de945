"""Web pages, each whole in one file: templates, one stylesheet, and what fills them."""
