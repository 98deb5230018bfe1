// Package browser runs Debian's headless Chromium for tests. It controls Chromium through two pipes, so it needs no
// port. `make browser` installs Chromium.
package browser

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// timeout is the time limit for each message of Chromium, such as the end of the load of a page.
const timeout = 6 * time.Minute

// Page is the only page of a Chromium. Its methods end the test after an error.
type Page struct {
	// Requests are the URLs that the page has requested since the last Goto, with its own.
	Requests []string

	t                  testing.TB
	commands, messages *os.File
	reader             *bufio.Reader
	// log is the path of Chromium's standard error.
	log     string
	session string
	lastID  int
	// loaded is true after the load of the page.
	loaded bool
}

// message is a response, which has the ID of its command, or an event, which has a method.
type message struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Open starts Chromium with one empty page. Chromium ends with the test.
func Open(t testing.TB) *Page {
	t.Helper()
	program, err := exec.LookPath("chromium-headless-shell")
	require.NoError(t, err, "run `make browser`")
	profile, err := os.MkdirTemp("", "browser-*")
	require.NoError(t, err)
	commandsOut, commands, err := os.Pipe()
	require.NoError(t, err)
	messages, messagesIn, err := os.Pipe()
	require.NoError(t, err)
	p := &Page{t: t, commands: commands, messages: messages, reader: bufio.NewReader(messages),
		log: filepath.Join(profile, "log")}
	log, err := os.Create(p.log)
	require.NoError(t, err)

	// Chromium refuses to run as root with its sandbox. The pages are our own. It connects to no host by itself.
	cmd := exec.Command(program, "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-quic", "--hide-scrollbars", "--window-size=1400,1000", "--user-data-dir="+profile, "about:blank")
	cmd.ExtraFiles = []*os.File{commandsOut, messagesIn} // its descriptors 3 and 4
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end its processes together
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = commands.Close()
		_ = messages.Close()
		_ = os.RemoveAll(profile)
	})
	for _, file := range []*os.File{commandsOut, messagesIn, log} {
		_ = file.Close() // Chromium has its own copy
	}

	var targets struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	p.call("Target.getTargets", nil, &targets)
	page := ""
	for _, target := range targets.TargetInfos {
		if target.Type == "page" {
			page = target.TargetID
		}
	}
	require.NotEmpty(t, page, "Chromium has no page")
	var attached struct{ SessionID string }
	p.call("Target.attachToTarget", map[string]any{"targetId": page, "flatten": true}, &attached)
	p.session = attached.SessionID
	p.call("Page.enable", nil, nil)
	p.call("Network.enable", nil, nil)
	return p
}

// Before runs a script before those of each page.
func (p *Page) Before(script string) {
	p.t.Helper()
	p.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": script}, nil)
}

// Goto opens a URL and waits until the page is loaded.
func (p *Page) Goto(url string) {
	p.t.Helper()
	p.Requests, p.loaded = nil, false
	var navigated struct{ ErrorText string }
	p.call("Page.navigate", map[string]any{"url": url}, &navigated)
	require.Empty(p.t, navigated.ErrorText, url)
	for !p.loaded {
		p.read()
	}
}

// Eval evaluates a JavaScript expression. If it is a promise, Eval waits for it. The value goes to out, which can be
// nil.
func (p *Page) Eval(expression string, out any) {
	p.t.Helper()
	var evaluated struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.call("Runtime.evaluate",
		map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &evaluated)
	if failed := evaluated.ExceptionDetails; failed != nil {
		require.FailNow(p.t, expression, "%s %s", failed.Text, failed.Exception.Description)
	}
	if out != nil {
		require.NoError(p.t, json.Unmarshal(evaluated.Result.Value, out), expression)
	}
}

// Dark selects the colours that the page sees as the user's choice: dark or light.
func (p *Page) Dark(dark bool) {
	p.t.Helper()
	scheme := map[bool]string{true: "dark", false: "light"}[dark]
	p.call("Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Scripts allows or forbids the scripts of pages. Eval works in both cases.
func (p *Page) Scripts(allowed bool) {
	p.t.Helper()
	p.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": !allowed}, nil)
}

// Size sets the size of the page in pixels.
func (p *Page) Size(width, height int) {
	p.t.Helper()
	p.call("Emulation.setDeviceMetricsOverride",
		map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Screenshot writes the visible part of the page to a file in PNG format.
func (p *Page) Screenshot(file string) {
	p.t.Helper()
	var screenshot struct{ Data string }
	p.call("Page.captureScreenshot", map[string]any{"format": "png"}, &screenshot)
	data, err := base64.StdEncoding.DecodeString(screenshot.Data)
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(file, data, 0o644))
}

// call sends a command and waits for its response. Both end with a zero byte.
func (p *Page) call(method string, params map[string]any, out any) {
	p.t.Helper()
	p.lastID++
	command := map[string]any{"id": p.lastID, "method": method, "params": params}
	if params == nil {
		command["params"] = map[string]any{}
	}
	if p.session != "" {
		command["sessionId"] = p.session
	}
	text, err := json.Marshal(command)
	require.NoError(p.t, err)
	_, err = p.commands.Write(append(text, 0))
	require.NoError(p.t, err, method)
	for {
		m := p.read()
		if m.ID != p.lastID {
			continue
		}
		if m.Error != nil {
			require.FailNow(p.t, method, m.Error.Message)
		}
		if out != nil {
			require.NoError(p.t, json.Unmarshal(m.Result, out), method)
		}
		return
	}
}

// read reads the next message, and keeps what Page needs of events.
func (p *Page) read() message {
	p.t.Helper()
	require.NoError(p.t, p.messages.SetReadDeadline(time.Now().Add(timeout)))
	text, err := p.reader.ReadBytes(0)
	if err != nil {
		log, _ := os.ReadFile(p.log)
		require.FailNow(p.t, "Chromium has sent no message", "%v: %s", err, log)
	}
	var m message
	require.NoError(p.t, json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m))
	switch m.Method {
	case "Page.loadEventFired":
		p.loaded = true
	case "Network.requestWillBeSent":
		var sent struct{ Request struct{ URL string } }
		require.NoError(p.t, json.Unmarshal(m.Params, &sent))
		p.Requests = append(p.Requests, sent.Request.URL)
	}
	return m
}
