package cluster

import (
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// Summary is what a reader of the state must know about the plan. It has no secret. It is the stack's output `cluster`.
type Summary struct {
	Region   string   `mapstructure:"region"`
	Versions Versions `mapstructure:"versions"`
	// BackupInterval is the time between two snapshots of etcd, or 0 without backups.
	BackupInterval time.Duration `mapstructure:"backupInterval"`
	Prices         Prices        `mapstructure:"prices"`
}

// Versions are the versions of the programs whose upgrades an operator plans, without v.
type Versions struct {
	Kubernetes string `mapstructure:"kubernetes" json:"kubernetes,omitempty"`
	Etcd       string `mapstructure:"etcd" json:"etcd,omitempty"`
	Calico     string `mapstructure:"calico" json:"calico,omitempty"`
}

// Summary returns the summary of the plan.
func (p Plan) Summary() Summary {
	s := Summary{
		Region: p.Region, Prices: p.Prices,
		Versions: Versions{Kubernetes: p.Kubernetes.Version, Etcd: p.Etcd.Version, Calico: p.Calico.Version},
	}
	if p.Etcd.Backup.Container != "" {
		s.BackupInterval = p.Etcd.Backup.Interval
	}
	return s
}

// Output returns the summary as the object that ReadSummary reads.
func (s Summary) Output() (map[string]any, error) {
	out := map[string]any{}
	if err := mapstructure.Decode(s, &out); err != nil {
		return nil, err
	}
	out["backupInterval"] = s.BackupInterval.String()
	return out, nil
}

// ReadSummary reads the stack's output `cluster`. The summary is empty if the program of the last `up` had no such
// output.
func ReadSummary(output any) (Summary, error) {
	var s Summary
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: &s, DecodeHook: mapstructure.StringToTimeDurationHookFunc(),
	})
	if err != nil {
		return s, err
	}
	return s, decoder.Decode(output)
}
