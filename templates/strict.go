package templates

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strconv"
	"text/template"
	"text/template/parse"

	"kubernetes-openstack/cluster"
)

// functions are the functions that templates can call.
var functions = template.FuncMap{
	"base64":   func(s cluster.Secret) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"required": required,
}

// parseStrict returns a template that fails if it prints a value that is not set, such as an empty text or
// address. text/template would print it, and a service would start with a wrong setting. parseStrict changes
// each {{VALUE}} to {{VALUE | required "VALUE"}}.
func parseStrict(name, text string) (*template.Template, error) {
	t, err := template.New(name).Funcs(functions).Parse(text)
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
