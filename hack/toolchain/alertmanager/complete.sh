#!/bin/sh
# Adds pages in the place of the web UI, which upstream generates and the Go module lacks.
set -eu
for ui in elm mantine; do
	mkdir -p "ui/app/dist/$ui"
	echo '<title>Alertmanager</title>This build has no web UI. Its API is at <a href="/api/v2/alerts">/api/v2</a>.' |
		gzip --no-name >"ui/app/dist/$ui/index.html.gz"
done
