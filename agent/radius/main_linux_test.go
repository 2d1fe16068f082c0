package radius

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(loadEnv); job != "" {
		load(job) // this process is the generator of a benchmark
		return
	}
	goleak.VerifyTestMain(m)
}
