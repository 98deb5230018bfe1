// Package strict parses templates that fail instead of writing a wrong file. A template fails if it prints a value that
// is not set. In YAML, TOML and JSON, a template also fails if it prints a text without an encoder, because a name such
// as true, 123 or null would become another value:
//
//	{{yaml .Name}}   without quotes if possible
//	{{quote .Name}}  in double quotes
package strict

import (
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"text/template"
	"text/template/parse"
)

// Parse returns the template of a file. It changes each {{VALUE}} to {{VALUE | required "VALUE"}}. functions are
// further functions that the template can call.
func Parse(name, text string, functions template.FuncMap) (*template.Template, error) {
	all := template.FuncMap{"yaml": toYAML, "quote": quote, "required": required}
	if isData(name) {
		all["required"] = requiredEncoded
	}
	maps.Copy(all, functions)
	t, err := template.New(name).Funcs(all).Parse(text)
	if err != nil {
		return nil, err
	}
	for _, defined := range t.Templates() {
		makeStrict(defined.Root)
	}
	return t, nil
}

func makeStrict(lists ...*parse.ListNode) {
	for _, list := range lists {
		if list == nil {
			continue
		}
		for _, node := range list.Nodes {
			switch n := node.(type) {
			case *parse.ActionNode:
				if len(n.Pipe.Decl) == 0 { // a declaration prints nothing
					n.Pipe.Cmds = append(n.Pipe.Cmds, requiredCommand(n))
				}
			case *parse.IfNode:
				makeStrict(n.List, n.ElseList)
			case *parse.RangeNode:
				makeStrict(n.List, n.ElseList)
			case *parse.WithNode:
				makeStrict(n.List, n.ElseList)
			}
		}
	}
}

// requiredCommand returns the command required with the text of an action's pipeline.
func requiredCommand(n *parse.ActionNode) *parse.CommandNode {
	value := n.Pipe.String()
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{
		parse.NewIdentifier("required").SetPos(n.Pos),
		&parse.StringNode{NodeType: parse.NodeString, Pos: n.Pos, Quoted: strconv.Quote(value), Text: value},
	}}
}

// required returns value, or an error with its name if it has the zero value of its type. false is set.
func required(name string, value any) (any, error) {
	if v := reflect.ValueOf(value); !v.IsValid() || v.IsZero() && v.Kind() != reflect.Bool {
		return nil, fmt.Errorf("%s is not set", name)
	}
	return value, nil
}

// requiredEncoded is required for files whose texts need an encoder. Numbers, addresses and the like need none.
func requiredEncoded(name string, value any) (any, error) {
	if _, done := value.(encoded); !done && reflect.ValueOf(value).Kind() == reflect.String {
		return nil, fmt.Errorf("%s is a text without an encoder: use yaml or quote", name)
	}
	return required(name, value)
}
