package templates

import "testing"

// BenchmarkUserData renders the user-data of one machine of each role, as `pulumi up` does for each machine.
func BenchmarkUserData(b *testing.B) {
	for _, role := range []string{"etcd", "control-plane", "worker"} {
		b.Run(role, func(b *testing.B) {
			m := machines()[role]
			for b.Loop() {
				if _, err := UserData(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
