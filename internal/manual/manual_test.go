package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEveryCommandHasAPageOfItsDate(t *testing.T) {
	root := &cobra.Command{Use: "program", Short: "A program"}
	sub := &cobra.Command{Use: "greet", Short: "Say hello", Run: func(*cobra.Command, []string) {}}
	sub.Flags().String("whom", "", "who is greeted")
	root.AddCommand(sub, Command())
	dir := filepath.Join(t.TempDir(), "man8")
	root.SetArgs([]string{"man", "--date", "2026-02-03", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "program-greet.8"))
	if err != nil || !strings.Contains(string(page), "who is greeted") || !strings.Contains(string(page), `"Feb 2026"`) || strings.Contains(string(page), "Auto generated") {
		t.Errorf("got %v\n%s", err, page)
	}
	root.SetArgs([]string{"man", "--date", "yesterday", dir})
	root.SilenceErrors, root.SilenceUsage = true, true
	if err := root.Execute(); err == nil || !strings.Contains(err.Error(), "is not a date") {
		t.Errorf("got %v", err)
	}
}
