package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubernetes-openstack/cluster"
)

// Comment is the text of one key, as a struct's field has it.
type Comment struct {
	// Meaning is one line of Markdown.
	Meaning string
	// Default is Markdown, and Example is YAML. Both are empty if the comment has no such line.
	Default, Example string
}

// Key is one key of the configuration.
type Key struct {
	// Path is the place in the configuration: pools[].labels.
	Path string
	// Type is the type in words: list of CIDRs.
	Type string
	Comment
	// FromCode is true if cluster.Defaults sets the default.
	FromCode bool
}

// Section is the part of the document for one object at the top of the configuration. Title is empty for the keys that
// are no objects.
type Section struct {
	Title, Intro string
	Keys         []Key
}

// readComments returns the comments of all fields of a Go file. The index is Struct.Field. The comment of an embedded
// struct can describe keys of that struct: its own text is better there, or it is in another package. Their index is
// Struct.key:KEY.
func readComments(path string) (map[string]Comment, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	comments := map[string]Comment{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.TypeSpec)
		if !ok {
			return true
		}
		object, ok := spec.Type.(*ast.StructType)
		if !ok {
			return false
		}
		for _, field := range object.Fields.List {
			for _, name := range field.Names {
				comments[spec.Name.Name+"."+name.Name] = parse(field.Doc.Text())
			}
			if len(field.Names) == 0 {
				parts := strings.Split(field.Doc.Text(), "\nKey: ")
				for _, part := range parts[1:] {
					key, text, _ := strings.Cut(part, "\n")
					comments[spec.Name.Name+".key:"+key] = parse(text)
				}
			}
		}
		return false
	})
	return comments, nil
}

// parse splits a comment into its meaning and the lines Default: and Example:.
func parse(text string) Comment {
	var c Comment
	var meaning []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if value, ok := strings.CutPrefix(line, "Default: "); ok {
			c.Default = value
		} else if value, ok := strings.CutPrefix(line, "Example: "); ok {
			c.Example = value
		} else if line != "" {
			meaning = append(meaning, line)
		}
	}
	c.Meaning = strings.Join(meaning, " ")
	return c
}

// collector collects the keys of one section.
type collector struct {
	comments map[string]Comment
	// unused are the indexes of comments with a line Default: that no key has shown.
	unused map[string]bool
	keys   []Key
	errs   []error
}

// collect returns all keys in the order of the structs, with the values of defaults.
func collect(comments map[string]Comment, defaults cluster.Config) ([]Section, error) {
	c := collector{comments: comments, unused: map[string]bool{}}
	for index, comment := range comments {
		c.unused[index] = comment.Default != ""
	}
	sections := []Section{{}}
	config := reflect.ValueOf(defaults)
	for i := range config.NumField() {
		field := config.Type().Field(i)
		name := field.Tag.Get("mapstructure")
		object, brackets := field.Type, ""
		if object.Kind() == reflect.Slice {
			object, brackets = object.Elem(), "[]"
		}
		if !isObject(object) {
			c.add(name, "Config."+field.Name, config.Field(i))
			sections[0].Keys, c.keys = append(sections[0].Keys, c.keys...), nil
			continue
		}
		value := config.Field(i)
		if brackets != "" {
			value = reflect.Zero(object)
		}
		c.walk(name+brackets+".", value, "")
		sections = append(sections, Section{Title: name, Intro: comments["Config."+field.Name].Meaning, Keys: c.keys})
		c.keys = nil
	}
	for _, index := range slices.Sorted(maps.Keys(c.unused)) {
		if c.unused[index] {
			c.errs = append(c.errs, fmt.Errorf("%s: remove its line `Default:`, because Defaults sets the value", index))
		}
	}
	return sections, errors.Join(c.errs...)
}

// walk adds the keys of an object. The comments of owner, a struct around embedded structs, come before those of the
// embedded fields.
func (c *collector) walk(prefix string, object reflect.Value, owner string) {
	for i := range object.NumField() {
		field := object.Type().Field(i)
		name := field.Tag.Get("mapstructure")
		switch {
		case name == "-":
		case name == ",squash":
			c.walk(prefix, object.Field(i), cmp.Or(owner, object.Type().Name()))
		case isObject(field.Type):
			c.walk(prefix+name+".", object.Field(i), "")
		default:
			index := owner + ".key:" + name
			if _, ok := c.comments[index]; !ok {
				index = object.Type().Name() + "." + field.Name
			}
			c.add(prefix+name, index, object.Field(i))
			if field.Type.Kind() == reflect.Slice && isObject(field.Type.Elem()) {
				c.walk(prefix+name+"[].", reflect.Zero(field.Type.Elem()), "")
			}
		}
	}
}

// add adds one key, with its default from the code or else from its comment.
func (c *collector) add(path, index string, value reflect.Value) {
	key := Key{Path: path, Type: typeName(value.Type(), ""), Comment: c.comments[index]}
	if !value.IsZero() || value.Kind() == reflect.Bool {
		text := inYAML(value)
		key.FromCode, key.Default = true, "`"+text+"`"
		if key.Example == "" {
			key.Example = text
		}
	} else {
		c.unused[index] = false
	}
	for _, part := range []struct{ name, text string }{
		{"text", key.Meaning}, {"line `Default:`", key.Default}, {"line `Example:`", key.Example},
	} {
		if part.text == "" {
			c.errs = append(c.errs, fmt.Errorf("%s: the comment of %s must have a %s", path, index, part.name))
		}
	}
	c.keys = append(c.keys, key)
}

// inYAML returns a default as a user writes it.
func inYAML(value reflect.Value) string {
	text := fmt.Sprint(value.Interface())
	if value.Type() == reflect.TypeFor[time.Duration]() && strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil && value.Kind() == reflect.String {
		return strconv.Quote(text)
	}
	return text
}

// isObject returns true for structs with keys.
func isObject(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[netip.Prefix]() && t != reflect.TypeFor[netip.Addr]()
}

// typeName returns a type in words. The plural is its ending after "list of".
func typeName(t reflect.Type, plural string) string {
	switch {
	case t == reflect.TypeFor[netip.Prefix]():
		return "CIDR" + plural
	case t == reflect.TypeFor[netip.Addr]() && plural != "":
		return "IPv4 addresses"
	case t == reflect.TypeFor[netip.Addr]():
		return "IPv4 address"
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == reflect.TypeFor[cluster.Secret]():
		return "secret string"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem(), plural)
	case reflect.Slice:
		return "list of " + typeName(t.Elem(), "s")
	case reflect.Map:
		return "map of " + typeName(t.Elem(), "s")
	case reflect.Struct:
		return "object" + plural
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Float64:
		return "number" + plural
	}
	return "string" + plural
}
