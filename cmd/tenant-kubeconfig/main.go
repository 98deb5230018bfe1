// Command tenant-kubeconfig writes the kubeconfig for the users of an OpenStack project. It uses the
// administrators' kubeconfig to find the project's namespace:
//
//	pulumi stack output --show-secrets kubeconfig | go run ./cmd/tenant-kubeconfig --project web@Default > web.kubeconfig
//
// The output contains no secret and no data of a user. kubectl runs client-keystone-auth, which reads the
// password or the application credential from the OS_* variables, as OpenStack's command line does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	project := flag.String("project", "", "`NAME@DOMAIN` of the project, or its ID")
	flag.Parse()
	if err := run(context.Background(), *project, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tenant-kubeconfig:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, project string, in io.Reader, out io.Writer) error {
	if project == "" {
		return errors.New("--project must be NAME@DOMAIN or the ID of a project")
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	administrators, err := clientcmd.Load(text)
	if err != nil {
		return fmt.Errorf("standard input must be the administrators' kubeconfig: %w", err)
	}
	client, err := clientcmd.NewDefaultClientConfig(*administrators, nil).ClientConfig()
	if err != nil {
		return fmt.Errorf("standard input must be the administrators' kubeconfig: %w", err)
	}
	namespace, err := namespaceOf(ctx, client, project)
	if err != nil {
		return err
	}
	text, err = clientcmd.Write(kubeconfig(*administrators, namespace))
	if err == nil {
		_, err = out.Write(text)
	}
	return err
}
