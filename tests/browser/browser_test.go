package browser

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPage(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "page.html")
	require.NoError(t, os.WriteFile(file, []byte(`<!DOCTYPE html><title>A page</title>
<style>body { background: rgb(255, 255, 255) } @media (prefers-color-scheme: dark) { body { background: rgb(1, 2, 3) } }
</style><img src="missing.png"><p id="p">static</p><script>p.textContent = "changed"</script>`), 0o600))
	p := Open(t)
	p.Size(640, 480)
	p.Goto("file://" + file)
	assert.Equal(t, []string{"file://" + file, "file://" + folder + "/missing.png"}, p.Requests)

	eval := func(expression string) (text string) {
		t.Helper()
		p.Eval(expression, &text)
		return text
	}
	assert.Equal(t, "A page", eval("document.title"))
	assert.Equal(t, "later", eval(`new Promise(resolve => setTimeout(() => resolve("later"), 1))`))
	const background = "getComputedStyle(document.body).backgroundColor"
	p.Dark(true)
	assert.Equal(t, "rgb(1, 2, 3)", eval(background))
	p.Dark(false)
	assert.Equal(t, "rgb(255, 255, 255)", eval(background))

	assert.Equal(t, "changed", eval("p.textContent"))
	p.Scripts(false)
	p.Goto("file://" + file)
	assert.Equal(t, "static", eval("p.textContent"))

	screenshot := filepath.Join(folder, "page.png")
	p.Screenshot(screenshot)
	text, err := os.ReadFile(screenshot)
	require.NoError(t, err)
	config, err := png.DecodeConfig(bytes.NewReader(text))
	require.NoError(t, err)
	assert.Equal(t, [2]int{640, 480}, [2]int{config.Width, config.Height})
}
