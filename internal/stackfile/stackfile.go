// Package stackfile reads the configuration of a stack without Pulumi.
package stackfile

import (
	"encoding/json"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
)

// Read returns the values in the file of a stack, and those of the project file that the stack does not have. As in
// Pulumi, a key of the project can be a path in an object. Secrets stay encrypted: {secure: …}.
func Read(projectFile, stackFile string) (map[string]any, error) {
	project, err := workspace.LoadProject(projectFile)
	if err != nil {
		return nil, err
	}
	stack, err := workspace.LoadProjectStack(nil, project, stackFile)
	if err != nil {
		return nil, err
	}
	for name, shared := range project.Config {
		key, err := config.ParseKey(name)
		if err != nil {
			return nil, err
		}
		_, own, err := stack.Config.Get(key, true)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if own {
			continue
		}
		value, err := newValue(shared)
		if err != nil {
			return nil, err
		}
		if err := stack.Config.Set(key, value, true); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	text, err := json.Marshal(stack.Config)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	err = json.Unmarshal(text, &values)
	return values, err
}

// newValue returns the value of a key of the project. Its short form is a default.
func newValue(shared workspace.ProjectConfigType) (config.Value, error) {
	value := shared.Value
	if value == nil {
		value = shared.Default
	}
	switch value.(type) {
	case map[string]any, []any:
		text, err := json.Marshal(value)
		return config.NewObjectValue(string(text)), err
	}
	return config.NewValue(fmt.Sprint(value)), nil
}
