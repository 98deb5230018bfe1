package selinux

import (
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Pods judges the pods of a manifest in YAML: each path of the node that a container mounts, and each port. It also
// reports a container that is not confined without a need.
func Pods(manifest string) ([]Denial, error) {
	var denials []Denial
	for decoder := yaml.NewYAMLToJSONDecoder(strings.NewReader(manifest)); ; {
		var object map[string]any
		if err := decoder.Decode(&object); err == io.EOF {
			return sorted(denials), nil
		} else if err != nil {
			return nil, err
		}
		specs, err := podSpecs(object)
		if err != nil {
			return nil, err
		}
		meta, _ := object["metadata"].(map[string]any)
		for _, spec := range specs {
			denials = append(denials, judgePod(fmt.Sprintf("%v %v", object["kind"], meta["name"]), spec)...)
		}
	}
}

// podSpecs returns the pod specifications in an object of any kind. Only they have a list of containers.
func podSpecs(in any) (specs []corev1.PodSpec, err error) {
	var parts []any
	switch in := in.(type) {
	case []any:
		parts = in
	case map[string]any:
		if _, found := in["containers"].([]any); found {
			var spec corev1.PodSpec
			err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(in, &spec, true)
			return []corev1.PodSpec{spec}, err
		}
		for _, part := range in {
			parts = append(parts, part)
		}
	}
	for _, part := range parts {
		found, err := podSpecs(part)
		if err != nil {
			return nil, err
		}
		specs = append(specs, found...)
	}
	return specs, nil
}

func judgePod(pod string, spec corev1.PodSpec) (denials []Denial) {
	paths := map[string]*corev1.HostPathVolumeSource{}
	for _, v := range spec.Volumes {
		if v.HostPath != nil {
			paths[v.Name] = v.HostPath
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		unit := pod + "/" + c.Name
		domain, privileged := "container_t", false
		if s := spec.SecurityContext; s != nil && s.SELinuxOptions != nil && s.SELinuxOptions.Type != "" {
			domain = s.SELinuxOptions.Type
		}
		if s := c.SecurityContext; s != nil {
			if s.SELinuxOptions != nil && s.SELinuxOptions.Type != "" {
				domain = s.SELinuxOptions.Type
			}
			if privileged = s.Privileged != nil && *s.Privileged; privileged {
				// containerd sets no label, so the policy decides
				var err error
				if domain, err = loaded().becomes("container_runtime_t", "container_file_t"); err != nil {
					denials = append(denials, Denial{unit, "its image", err.Error()})
				}
			}
		}
		found := judgeContainer(unit, domain, c, paths)
		denials = append(denials, found...)
		if domain != "container_t" && !privileged && len(judgeContainer(unit, "container_t", c, paths)) == 0 {
			denials = append(denials, Denial{unit, "seLinuxOptions", "container_t is enough, got " + domain})
		}
	}
	return denials
}

// listens and connects match the port in an argument or in a variable.
var (
	listens  = regexp.MustCompile(`^--?[a-z-]*(?:listen|bind|endpoint|address|port)[a-z-]*=(?:[0-9.]*:)?([0-9]+)$`)
	connects = regexp.MustCompile(`https?://[^/:]+:([0-9]+)`)
)

func judgeContainer(unit, domain string, c corev1.Container, paths map[string]*corev1.HostPathVolumeSource) []Denial {
	p := loaded()
	var denials []Denial
	check := func(what, typeName, class string, permissions ...string) {
		if err := p.check(domain, typeName, class, nil, permissions...); err != nil {
			denials = append(denials, Denial{unit, what, err.Error()})
		}
	}
	for _, m := range c.VolumeMounts {
		host, found := paths[m.Name]
		if !found {
			continue // containerd labels the other volumes for the container
		}
		target := path.Join(host.Path, m.SubPath)
		kind := "file"
		if host.Type == nil || strings.HasPrefix(string(*host.Type), "Directory") {
			kind = "dir"
		}
		typeName, err := p.label(target, kind)
		if err != nil {
			denials = append(denials, Denial{unit, target, err.Error()})
			continue
		}
		switch {
		case host.Type != nil && *host.Type == corev1.HostPathSocket:
			check(target, typeName, "sock_file", "write")
		case kind == "dir":
			check(target, typeName, "dir", "search", "read")
			check(target, typeName, "file", "read", "open")
			check(target, typeName, "sock_file", "write")
			if !m.ReadOnly {
				check(target, typeName, "dir", "write", "add_name")
				check(target, typeName, "file", "create", "write")
				check(target, typeName, "sock_file", "create")
			}
		default:
			check(target, typeName, "file", "read", "open")
			if !m.ReadOnly {
				check(target, typeName, "file", "write")
			}
		}
	}

	bound, connected := map[int]bool{}, map[int]bool{}
	for _, port := range c.Ports {
		bound[int(port.ContainerPort)] = true
	}
	for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if probe != nil && probe.HTTPGet != nil {
			bound[probe.HTTPGet.Port.IntValue()] = true
		}
		if probe != nil && probe.TCPSocket != nil {
			bound[probe.TCPSocket.Port.IntValue()] = true
		}
	}
	words := slices.Concat(c.Command, c.Args)
	for _, e := range c.Env {
		words = append(words, e.Value)
	}
	for _, word := range words {
		if m := listens.FindStringSubmatch(word); m != nil {
			bound[number(m[1])] = true
		}
		for _, m := range connects.FindAllStringSubmatch(word, -1) {
			connected[number(m[1])] = true
		}
	}
	delete(bound, 0) // a port with a name is in c.Ports
	for permission, ports := range map[string]map[int]bool{"name_bind": bound, "name_connect": connected} {
		for port := range ports {
			typeName, err := p.port(port)
			if err != nil {
				denials = append(denials, Denial{unit, "port " + strconv.Itoa(port), err.Error()})
				continue
			}
			check("port "+strconv.Itoa(port), typeName, "tcp_socket", permission)
		}
	}
	return denials
}

// number returns a number of digits.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}
