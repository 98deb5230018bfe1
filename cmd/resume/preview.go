package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// Texts that stand for values in the output of `pulumi preview --json`.
const (
	unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9" // an output of a resource that does not exist yet
	secret  = "[secret]"
)

// failed returns the creates that may have failed after OpenStack had created the resource. These are the creates of
// the next `up`, according to the digest of its preview. A resource is not among them if the state lacks its parent or
// one of its dependencies, because the engine creates these first.
func (s *state) failed(preview []byte) ([]create, error) {
	var digest struct {
		Steps []struct {
			Op       string
			NewState object
		}
	}
	if err := decode(preview, &digest); err != nil {
		return nil, fmt.Errorf("read the preview: %w", err)
	}
	var out []create
	live := map[string]bool{}
	for _, r := range s.list("resources") {
		if r["delete"] != true && r["pendingReplacement"] != true {
			live[newCreate(r).URN] = true
		}
	}
	for _, step := range digest.Steps {
		c := newCreate(step.NewState)
		creates := step.Op == "create" || step.Op == "replace"
		if !creates || finders[c.Type] == nil || live[c.URN] || !c.possible(live) {
			continue
		}
		c.failed, c.resource = true, withoutSecrets(c.resource)
		out = append(out, c)
	}
	return out, nil
}

// possible returns true if the engine can have begun the create: its inputs are known, and all resources that it
// refers to are live.
func (c create) possible(live map[string]bool) bool {
	references := []any{c.resource["parent"]}
	if provider, ok := c.resource["provider"].(string); ok {
		references = append(references, provider[:max(0, strings.LastIndex(provider, "::"))]) // URN::ID
	}
	dependencies, _ := c.resource["dependencies"].([]any)
	for _, urn := range append(references, dependencies...) {
		if text, ok := urn.(string); ok && !live[text] {
			return false
		}
	}
	return !contains(c.Inputs, unknown)
}

// withoutSecrets returns a resource without the fields that belong to another one, and without secret inputs. The
// next `up` adds these.
func withoutSecrets(r object) object {
	r = maps.Clone(r)
	delete(r, "id")
	delete(r, "outputs")
	all, _ := r["inputs"].(object)
	in := maps.Clone(all)
	maps.DeleteFunc(in, func(_ string, value any) bool { return contains(value, secret) })
	r["inputs"] = in
	return r
}

// contains returns true if a value, or a value in it, is the text.
func contains(value any, text string) bool {
	encoded, _ := json.Marshal(value)
	quoted, _ := json.Marshal(text)
	return strings.Contains(string(encoded), string(quoted))
}

// diagnostics returns the errors in the digest of a preview and the program's standard error, each on its own line.
func diagnostics(preview []byte) string {
	var digest struct {
		Diagnostics []struct{ Severity, Message string }
	}
	if err := json.Unmarshal(preview, &digest); err != nil {
		return "\n" + string(preview)
	}
	var lines strings.Builder
	for _, d := range digest.Diagnostics {
		if d.Severity == "error" || d.Severity == "info#err" {
			lines.WriteString("\n" + strings.TrimSpace(d.Message))
		}
	}
	return lines.String()
}
