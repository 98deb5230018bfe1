package review

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"kubernetes-openstack/cluster"
)

// endsOfLife are the days after which a version of a program gets no patches. Versions without a known day are not
// listed: those of the last year, and those of etcd, whose last two minor versions get patches. OpenStack's controllers
// have the minor version of the Kubernetes that they are for, and no days of their own.
var endsOfLife = map[string]map[string]string{
	"Kubernetes": { // https://kubernetes.io/releases/
		"1.34": "2026-10-27", "1.35": "2027-02-28", "1.36": "2027-06-28", "1.37": "2027-10-28",
	},
	// The last two minor versions get patches, so these are the days of the releases of 3.30 and 3.31:
	// https://github.com/projectcalico/calico/releases
	"Calico": {"3.28": "2025-05-05", "3.29": "2025-10-21"},
	// https://containerd.io/releases/
	"containerd": {"2.0": "2025-11-07", "2.1": "2026-05-05", "2.2": "2026-11-06", "2.3": "2028-04-27"},
	// https://www.centos.org/cl-vs-cs/
	"CentOS Stream": {"9": "2027-05-31", "10": "2030-01-01"},
	// with long-term support: https://wiki.debian.org/LTS
	"Debian": {"11": "2026-08-31", "12": "2028-06-30", "13": "2030-06-30"},
}

// image matches names of images such as centos-stream-9 and CentOS-Stream-GenericCloud-9-20270101.
var image = regexp.MustCompile(`(?i)(centos[-_ ]stream|debian)[-_ a-z]*[-_ ]([0-9]+)\b`)

// program is a program and its minor version.
type program struct{ name, version string }

// programs returns the programs of a plan whose ends of life can be known. The operating system is known only by the
// name of its image.
func programs(plan cluster.Plan) []program {
	out := []program{{"Kubernetes", minor(plan.Kubernetes.Version)}, {"Calico", minor(plan.Calico.Version)}}
	for _, a := range plan.WithRole(cluster.RoleControlPlane)[0].Artifacts {
		if a.Name == "containerd" {
			out = append(out, program{a.Name, minor(a.Version)})
		}
	}
	if match := image.FindStringSubmatch(plan.Image.Name); match != nil {
		name := "Debian"
		if !strings.EqualFold(match[1], name) {
			name = "CentOS Stream"
		}
		out = append(out, program{name, match[2]})
	}
	return out
}

// minor returns the minor version of a version such as 1.36.3.
func minor(version string) string { return version[:strings.LastIndex(version, ".")] }

// endOfLife returns a sentence if a program gets no patches in 90 days, or "".
func (p program) endOfLife(today time.Time) string {
	end := endsOfLife[p.name][p.version]
	day, err := time.Parse(time.DateOnly, end)
	if err != nil {
		return "" // a version without a known day
	}
	switch days := int(day.Sub(today).Hours() / 24); {
	case days < 0:
		return fmt.Sprintf("%s %s has had no patches since %s: upgrade it.", p.name, p.version, end)
	case days <= 90:
		return fmt.Sprintf("%s %s gets no patches after %s, in %d days: plan an upgrade.", p.name, p.version, end, days)
	}
	return ""
}
