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
	sub.Long = "Says hello.\n.so says another\n\n    as it is\nback\\slash"
	sub.Flags().StringP("whom", "w", "you", "who is `NAME`d")
	sub.Flags().Bool("secret", false, "not told")
	if err := sub.Flags().MarkHidden("secret"); err != nil {
		t.Fatal(err)
	}
	root.AddCommand(sub, Command())
	dir := filepath.Join(t.TempDir(), "man8")
	root.SetArgs([]string{"man", "--date", "2026-02-03", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "program-greet.8"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`.TH "PROGRAM\-GREET" 8 "2026\-02\-03" "IWAS `, ".SH NAME\nprogram\\-greet \\- Say hello\n", ".SH SYNOPSIS\n.B \"program greet [flags]\"\n",
		"Says hello.\n\\&.so says another\n.PP\n.nf\n    as it is\n.fi\nback\\eslash\n", ".TP\n\\fB\\-w\\fP, \\fB\\-\\-whom\\fP \\fINAME\\fP\nwho is NAMEd (you if not given)\n",
		".SH SEE ALSO\n\\fBprogram\\fP(8)\n"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(string(page), "secret") {
		t.Errorf("a hidden flag is told:\n%s", page)
	}
	if all, err := filepath.Glob(filepath.Join(dir, "*.8")); err != nil || len(all) != 8 { // the program, greet, man, completion and its four shells
		t.Errorf("got %v, %v", all, err)
	}
	root.SetArgs([]string{"man", "--date", "yesterday", dir})
	root.SilenceErrors, root.SilenceUsage = true, true
	if err := root.Execute(); err == nil || !strings.Contains(err.Error(), "is not a date") {
		t.Errorf("got %v", err)
	}
}
