// Command mirror fills a folder with the files and images that the machines of a stack download. Any file server can
// serve the folder to a cluster without internet access: docs/airgap.md.
//
//	go run ./cmd/mirror --stack prod /srv/mirror
//	go run ./cmd/mirror --stack prod /srv/mirror docker.io/library/nginx:1.29.3
//
// mirror reads the configuration from Pulumi.prod.yaml and Pulumi.yaml. It needs no passphrase, because it needs no
// secrets. Each file has the sha256 that the machines verify. Further arguments are images of applications.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/mirror"
	"kubernetes-openstack/internal/progress"
	"kubernetes-openstack/templates"
)

func main() {
	stack := flag.String("stack", "dev", "name of the `stack`")
	from := flag.String("from", "upstream", "`origin`: upstream, the hosts of the publishers or $UPSTREAM; or toolchain, "+
		"the builds of hack/toolchain")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *stack, *from, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mirror:", err)
		os.Exit(1)
	}
}

// run fills the folder args[0]. The other args are additional images.
func run(ctx context.Context, stack, from string, args []string) error {
	if len(args) == 0 || args[0] == "" {
		return errors.New("the folder is missing: set it, for example `make mirror DIR=/srv/mirror`")
	}
	plan, err := readPlan(stack, "Pulumi.yaml", "Pulumi."+stack+".yaml")
	if err != nil {
		return err
	}
	names, err := images(plan)
	if err != nil {
		return err
	}
	names = append(names, args[1:]...)
	source, digest, err := open(from)
	if err != nil {
		return err
	}
	var pinned []mirror.Image
	for _, name := range names {
		pinned = append(pinned, mirror.Image{Name: name, Digest: digest(name)})
	}
	if err := source.Fill(ctx, args[0], downloads(plan), pinned, progress.New(os.Stderr, "mirror")); err != nil {
		return err
	}
	fmt.Print(configuration(stack, args[0], names))
	packages, err := packages(plan)
	fmt.Print("\nThe folder has no packages of the operating system. Without a package mirror, images must contain:\n\n" +
		packages)
	return err
}

// open returns the origin of files and images, and the pinned digests of its images.
func open(from string) (source *mirror.Source, digest func(image string) string, err error) {
	switch from {
	case "upstream":
		source, err = mirror.NewSource(os.Getenv("UPSTREAM"))
		return source, cluster.ImageDigest, err
	case "toolchain":
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		go http.Serve(listener, mirror.Handler(os.DirFS(dirs.Mirror())))
		source, err = mirror.NewSource("http://" + listener.Addr().String())
		return source, func(string) string { return "" }, err // our builds have other digests than upstream's images
	}
	return nil, nil, fmt.Errorf("--from: must be upstream or toolchain, got %q", from)
}

// configuration describes how machines use the folder.
func configuration(stack, folder string, images []string) string {
	var registries []string
	for _, image := range images {
		registry, _, _ := strings.Cut(image, "/")
		registries = append(registries, registry)
	}
	slices.Sort(registries)
	text := fmt.Sprintf("%s has everything that the machines of %s download. Serve it as http://MIRROR, and set:\n\n"+
		"    artifacts:\n      mirror: http://MIRROR\n      registryMirrors:\n", folder, stack)
	for _, registry := range slices.Compact(registries) {
		text += fmt.Sprintf("        %[1]s: http://MIRROR/%[1]s\n", registry)
	}
	return text
}

// packages lists the packages that images must contain, by role and distribution.
func packages(plan cluster.Plan) (string, error) {
	text := ""
	for _, role := range []cluster.Role{cluster.RoleEtcd, cluster.RoleControlPlane, cluster.RoleWorker} {
		debian, centos, err := templates.Packages(plan, role)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("    %-14s Debian: %s\n    %-14s CentOS: %s\n",
			role, strings.Join(debian, " "), "", strings.Join(centos, " "))
	}
	return text, nil
}
