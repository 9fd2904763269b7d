"""`python -m docs.screenshots` takes pictures of the operators' page and the browser example."""
