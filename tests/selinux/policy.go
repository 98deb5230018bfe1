// Package selinux judges machines and manifests by SELinux's targeted policy of CentOS Stream 9, for tests. A machine
// is the files that it gets from cloud-init. The package labels them, derives the domain of each command of each unit,
// and looks up each access of a confined domain. It reports denials. A label, a transition or an access that the facts
// do not contain is a denial too.
//
// The facts are an extract of the compiled policy: selinux-policy, branch c9s of 2024-10-22 (commit 73a2d29), and
// container-selinux 2.250. They have only the rows that the tests need. SELinux runs nowhere here.
package selinux

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// labels.csv has the rules of file_contexts, as regular expressions of whole paths. The last matching rule counts.
//
//go:embed labels.csv
var labelsCSV []byte

// transitions.csv has the types of new processes and files. A process that executes a file of a type gets the new
// domain, or stays in its domain: "-". A new file in a directory of a type gets the new type, or the type of the
// directory: "-".
//
//go:embed transitions.csv
var transitionsCSV []byte

// access.csv has the permissions, allowed and denied, of a domain on a class of a type. A permission can depend on a
// boolean: name_connect=haproxy_connect_any. The domain * * has all permissions: it is unconfined. The type * of a port
// is every type.
//
//go:embed access.csv
var accessCSV []byte

// ports.csv has the types of TCP ports.
//
//go:embed ports.csv
var portsCSV []byte

// Denial is an access that the policy denies, or that the facts do not know. Unit is the unit or the container, and
// Path is the file or the port.
type Denial struct{ Unit, Path, Reason string }

func (d Denial) String() string { return d.Unit + ": " + d.Path + ": " + d.Reason }

type label struct {
	path       *regexp.Regexp
	kind, name string
}

type policy struct {
	labels      []label
	transitions map[[3]string]string            // domain, class, type → new type
	access      map[[3]string]map[string]string // domain, type, class → permission → allowed, denied or a boolean
	ports       map[int]string
}

const (
	allowed = "allowed"
	denied  = "denied"
)

// loaded returns the facts.
var loaded = sync.OnceValue(func() policy {
	p := policy{transitions: map[[3]string]string{}, access: map[[3]string]map[string]string{}, ports: map[int]string{}}
	for _, r := range rows(labelsCSV) {
		p.labels = append(p.labels, label{regexp.MustCompile("^(?:" + r[0] + ")$"), r[1], r[2]})
	}
	for _, r := range rows(transitionsCSV) {
		p.transitions[[3]string{r[0], r[1], r[2]}] = r[3]
	}
	for _, r := range rows(accessCSV) {
		key := [3]string{r[0], r[1], r[2]}
		if p.access[key] == nil {
			p.access[key] = map[string]string{}
		}
		for _, permission := range strings.Fields(r[3]) {
			name, boolean, conditional := strings.Cut(permission, "=")
			if !conditional {
				boolean = allowed
			}
			p.access[key][name] = boolean
		}
		for _, permission := range strings.Fields(r[4]) {
			p.access[key][permission] = denied
		}
	}
	for _, r := range rows(portsCSV) {
		number, err := strconv.Atoi(r[0])
		if err != nil {
			panic(err)
		}
		p.ports[number] = r[1]
	}
	return p
})

// rows returns the rows of a table, without its header.
func rows(table []byte) [][]string {
	r := csv.NewReader(bytes.NewReader(table))
	r.Comment = '#'
	all, err := r.ReadAll()
	if err != nil {
		panic(err)
	}
	return all[1:]
}

// links are the symbolic links of CentOS.
var links = [][2]string{{"/bin/", "/usr/bin/"}, {"/lib/", "/usr/lib/"}, {"/sbin/", "/usr/sbin/"}}

// resolve returns the path without links. sh is bash.
func resolve(path string) string {
	for _, l := range links {
		if rest, found := strings.CutPrefix(path, l[0]); found {
			path = l[1] + rest
		}
	}
	if path == "/usr/bin/sh" {
		return "/usr/bin/bash"
	}
	return path
}

// label returns the type that a path gets from file_contexts. kind is file or dir.
func (p policy) label(path, kind string) (string, error) {
	for _, l := range slices.Backward(p.labels) {
		if (l.kind == "" || l.kind == kind) && l.path.MatchString(path) {
			return l.name, nil
		}
	}
	return "", fmt.Errorf("the label of this %s is unknown: add its rule from file_contexts to labels.csv", kind)
}

// becomes returns the domain of a process of a domain after it has executed a file of a type.
func (p policy) becomes(domain, fileType string) (string, error) {
	return p.transition(domain, "process", fileType)
}

func (p policy) transition(domain, class, from string) (string, error) {
	to, known := p.transitions[[3]string{domain, class, from}]
	if !known {
		return "", fmt.Errorf("the new type of a %s of %s from %s is unknown: add it to transitions.csv", class, domain, from)
	}
	return to, nil
}

// unconfined reports whether a domain may do everything.
func (p policy) unconfined(domain string) bool {
	return p.access[[3]string{domain, "*", "*"}]["*"] == allowed
}

// check returns an error for the first permission that the domain does not have on a class of a type. booleans are on
// by name. It marks each boolean that decides.
func (p policy) check(domain, typeName, class string, booleans map[string]bool, permissions ...string) error {
	if p.unconfined(domain) {
		return nil
	}
	for _, permission := range permissions {
		value, known := p.access[[3]string{domain, typeName, class}][permission]
		if !known {
			value, known = p.access[[3]string{domain, "*", class}][permission]
		}
		what := fmt.Sprintf("%s may not %s a %s of %s", domain, permission, class, typeName)
		switch {
		case !known:
			return fmt.Errorf("unknown whether %s may %s a %s of %s: add it to access.csv", domain, permission, class, typeName)
		case value == denied:
			return fmt.Errorf("%s", what)
		case value == allowed:
		default:
			if _, on := booleans[value]; !on {
				return fmt.Errorf("%s without the boolean %s", what, value)
			}
			booleans[value] = true
		}
	}
	return nil
}

// port returns the type of a TCP port.
func (p policy) port(number int) (string, error) {
	name, known := p.ports[number]
	if !known {
		return "", fmt.Errorf("the type of this port is unknown: add it to ports.csv")
	}
	return name, nil
}
