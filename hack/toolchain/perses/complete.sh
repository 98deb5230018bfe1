#!/bin/sh
# Adds the web UI, which upstream builds from the module's folder `ui` and which the Go module lacks. Writes archives of
# plugins to the image: upstream's program extracts them when it starts.
set -eu
recipe=$(dirname "$0")/ui
archives=$1/tree/etc/perses/plugins-archive

cd ui
cp "$recipe"/* "$recipe"/.npmrc .
npm ci --ignore-scripts

# The npm package of the plugin system is newer than Perses, which serves plugins under paths without versions. Its
# library of icons is for plugins that the image does not have.
sed -i -e 's|{nameVersionRegistry}/mf|{name}/mf|' -e "s|require('mdi-material-ui')|{}|" \
	node_modules/@perses-dev/plugin-system/dist/remote/PluginRuntime.js

# The server replaces PREFIX_PATH_PLACEHOLDER by the configured prefix. Without main-fields, esbuild would include some
# packages twice, and plugins would have other React contexts than the UI.
node_modules/.bin/esbuild app/src/bundle.ts --bundle --minify --jsx=automatic --log-level=warning \
	--main-fields=browser,module,main --outdir=app/dist --public-path=PREFIX_PATH_PLACEHOLDER \
	--define:process.env.API_PREFIX='"PREFIX_PATH_PLACEHOLDER"' --define:process.env.NODE_ENV='"production"' \
	--loader:.woff=file --loader:.woff2=file --loader:.svg=dataurl --loader:.png=dataurl \
	--alias:@perses-dev/core=./spec.ts --alias:@perses-dev/client=./spec.ts --alias:@perses-dev/spec=./spec.ts \
	--alias:@perses-dev/explore=./explore.ts --alias:@perses-dev/plugin-system=./plugin-system.ts
{
	sed '/<\/body>/,$d' app/index.html
	echo '<script defer src="PREFIX_PATH_PLACEHOLDER/bundle.js"></script><style>'
	cat app/dist/bundle.css
	echo '</style></body></html>'
} >app/dist/index.html
cp --recursive app/favicon.ico app/src/locales app/dist
cat >embed.go <<-'END'
	package ui

	import "embed"

	//go:embed app/dist
	var embedFS embed.FS
END

mkdir -p "$archives"
for plugin in node_modules/@perses-dev/*-plugin; do
	# The npm packages lack upstream's schemas. These accept each spec. Pages of the kind Explore have none.
	for kind in $(node -p "require('./$plugin/package.json').perses.plugins.filter(p => p.kind !== 'Explore')
		.map(p => p.spec.name).join(' ')"); do
		mkdir -p "$plugin/schemas/$kind"
		printf 'package model\n\nkind: "%s"\nspec: {...}\n' "$kind" >"$plugin/schemas/$kind/model.cue"
	done
	name=$(node -p "require('./$plugin/mf-manifest.json').name")
	tar --create --file "$archives/$name.tar" --sort=name --mtime=@0 --numeric-owner --owner=0 --group=0 \
		--directory "$plugin" package.json mf-manifest.json schemas __mf
done
