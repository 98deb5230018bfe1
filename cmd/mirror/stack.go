package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/mirror"
	"kubernetes-openstack/internal/stackfile"
	"kubernetes-openstack/k8s"
)

// readPlan plans a stack from its file and the values that its project shares, without secrets and without a mirror.
func readPlan(stack, projectFile, file string) (cluster.Plan, error) {
	values, err := stackfile.Read(projectFile, file)
	if err != nil {
		return cluster.Plan{}, fmt.Errorf("%s: %w", file, err)
	}
	object, err := json.Marshal(withoutSecrets(values["kubernetes-openstack:cluster"]))
	if err != nil {
		return cluster.Plan{}, err
	}
	config, err := cluster.Decode(stack, string(object))
	if err != nil {
		return cluster.Plan{}, fmt.Errorf("%s: %w", file, err)
	}
	config.Artifacts.Mirror = ""
	return cluster.NewPlan(config), nil
}

// withoutSecrets replaces each encrypted value by a text.
func withoutSecrets(value any) any {
	switch value := value.(type) {
	case map[string]any:
		if _, encrypted := value["secure"].(string); encrypted && len(value) == 1 {
			return "encrypted"
		}
		for key := range value {
			value[key] = withoutSecrets(value[key])
		}
	case []any:
		for i := range value {
			value[i] = withoutSecrets(value[i])
		}
	}
	return value
}

// downloads returns the files that machines install.
func downloads(plan cluster.Plan) []mirror.Download {
	var out []mirror.Download
	for _, m := range plan.Machines {
		for _, a := range m.Artifacts {
			d := mirror.Download{Address: strings.TrimPrefix(a.URL, "https://"), SHA256: a.SHA256}
			if !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

// images returns the images that nodes pull for themselves and for the pods of the stack.
func images(plan cluster.Plan) ([]string, error) {
	pods, err := k8s.Images(plan)
	return append(plan.NodeImages(), pods...), err
}
