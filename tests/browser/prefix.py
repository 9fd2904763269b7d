"""nginx, which serves the operators' page below a path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness import environment, eventually, free_port, listens, process, short_folder
from tests.proxies import program

_NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location /ops/forebay/ {{
      proxy_pass {base}/;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_buffering off;
    }}
  }}
}}
"""


@contextmanager
def prefixed(base: str) -> Iterator[str]:
    """The page's base behind the proxy."""
    port = free_port()
    with short_folder() as folder:
        folder.chmod(0o755)  # nginx's workers have a user of their own
        configuration = folder / "nginx.conf"
        configuration.write_text(_NGINX.format(folder=folder, port=port, base=base))
        command = (program("nginx"), "-p", str(folder), "-c", str(configuration))
        with process(*command, env=environment()) as running:
            eventually(lambda: listens(port), lambda: f"nginx listens:\n{running.output}")
            yield f"http://127.0.0.1:{port}/ops/forebay"
