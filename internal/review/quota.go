package review

import "fmt"

// Quota is what an OpenStack project has left. A negative number means that there is no limit.
type Quota struct {
	// Project is the ID of the project.
	Project string

	Instances, Volumes, Gigabytes, Ports, Rules, SecurityGroups, ServerGroups, FloatingIPs int
}

// left returns what is left of a unit, and false without a limit.
func (q Quota) left(u unit) (int, bool) {
	left, known := map[string]int{
		instances: q.Instances, volumes: q.Volumes, gigabytes: q.Gigabytes, ports: q.Ports, rules: q.Rules,
		secGroups: q.SecurityGroups, groups: q.ServerGroups, floatingIP: q.FloatingIPs,
	}[u.kind]
	return left, known && left >= 0 && (u.name == "" || u.kind == gigabytes)
}

// Compare adds what is left in the project of the stack. It returns false if the quota is that of another project. A
// new stack has no project yet.
func (r *Review) Compare(q Quota) bool {
	if r.project != "" && r.project != q.Project {
		return false
	}
	r.quota = &q
	return true
}

// available returns the text about what is left of a unit.
func (r Review) available(u unit) string {
	left, limited := r.quota.left(u)
	if !limited {
		return ""
	}
	needed := 0
	for other, n := range r.change {
		if other == u || u.kind == gigabytes && other.kind == gigabytes { // of all types of volumes
			needed += n
		}
	}
	if needed > left {
		return fmt.Sprintf("**%d, too few**", left)
	}
	return fmt.Sprint(left)
}
