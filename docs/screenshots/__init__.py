"""`python -m docs.screenshots` takes the pictures of the operators' page."""
