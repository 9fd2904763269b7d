"""The operators' page: at `/` of `admin_listen`, and the RPCs that it makes, by Connect.

- `files.py`: the files of `static/`, and the headers that they are served with
- `application.py`: serves the files, and the methods that the page calls
- `read_only.py`: the methods that change nothing

`static/` is the page: modules of JavaScript, as browsers load them, without a build step.
`index.html` loads `app.js`, which has a view for each part of the address after `#`. `rpc.js`
speaks Connect, `ui.js` loads and shows, and each view is a file named after it. `static/vendor/`
has the libraries as their authors published them (`python -m tests.browser.vendor` puts them
there), with their licences.

The page has no rights of its own: it calls the gateway's services as any client does, with the
token that its user gave it, and the guard decides.
"""
