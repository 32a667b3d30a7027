"""The page: Gradio is the shell, the labeling canvas talks to our own routes."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported, which only this package does
