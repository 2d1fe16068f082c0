package release

import (
	"os/exec"
	"testing"
)

func TestVersionsOfPackages(t *testing.T) {
	for version, want := range map[string]string{
		"v1.4.0": "1.4.0", "1.4.0": "1.4.0", "v1.4.0-rc1": "1.4.0~rc1", "v1.4.0-3-g0abcdef": "1.4.0+3.g0abcdef",
		"v1.4.0-rc1-3-g0abcdef-dirty": "1.4.0~rc1+3.g0abcdef.dirty", "v0.0.0-371-g307cadf-dirty": "0.0.0+371.g307cadf.dirty",
		"v1.4.0-dirty": "1.4.0+0.dirty", "dev": "", "307cadf": "", "v1.4 0": "", "v1.4.0-$(id)": "",
	} {
		got, ok := Package(version)
		if got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", version, got, ok, want)
		}
	}
}

// Each is newer than the one before; dpkg itself is asked too.
func TestTheOrderIsDpkgs(t *testing.T) {
	rising := []string{"v0.0.0-9-g307cadf", "v0.0.0-371-g307cadf", "v0.0.0-371-g307cadf-dirty", "v0.9", "v1.4.0-rc1", "v1.4.0-rc2", "v1.4.0-rc2-1-gabc", "v1.4.0-rc10",
		"v1.4.0", "v1.4.0-dirty", "v1.4.0-3-g0abcdef", "v1.4.0-20-g0abcdef", "v1.4.1-rc1", "v1.4.1", "v1.10.0", "v2.0.0"}
	for i, a := range rising {
		for j, b := range rising {
			if got := Newer(a, b); got != (i < j) {
				t.Errorf("Newer(%s, %s) = %v", a, b, got)
			}
			pa, _ := Package(a)
			pb, _ := Package(b)
			if j != i+1 && j != i && i != j+1 { // a process each
				continue
			}
			if err := exec.Command("dpkg", "--compare-versions", pa, "lt", pb).Run(); (err == nil) != (i < j) {
				t.Errorf("dpkg: %s lt %s is %v", pa, pb, err == nil)
			}
		}
	}
	if Newer("dev", "v1.0.0") || Newer("v1.0.0", "dev") {
		t.Error("a build without a version is older or newer than something")
	}
}
