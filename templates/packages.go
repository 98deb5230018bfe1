package templates

import (
	"fmt"
	"path"
	"strings"

	"kubernetes-openstack/cluster"
)

// Packages returns the packages that the image of a role's machines must contain if they have no package mirror, in
// Debian and in CentOS.
func Packages(plan cluster.Plan, role cluster.Role) (debian, centos []string, err error) {
	machines := plan.WithRole(role)
	if len(machines) == 0 {
		return nil, nil, fmt.Errorf("no machine has the role %s", role)
	}
	files, err := values{Plan: plan, Machine: machines[0]}.render(systems, "os-packages")
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		if path.Base(f.Path) != "os-packages.list" {
			continue
		}
		for line := range strings.Lines(f.Content) {
			fields := strings.Fields(line)
			if fields[0] == "modules" {
				centos = append(centos, "container-selinux", "kernel-modules-extra")
				continue
			}
			debian, centos = append(debian, fields[1]), append(centos, fields[2])
		}
	}
	return debian, centos, nil
}
