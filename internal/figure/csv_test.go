package figure

import (
	"bytes"
	"testing"
)

func TestCSV(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	rows := [][]string{
		{"=1+1", "1"}, {"+1", "2"}, {"-1+cmd|' /C calc'!A0", "3"}, {"@SUM(A1)", "4"}, {"\t=1", "5"}, {"\r=1", "6"}, {"＝1", "7"}, {"\x1b=1", "8"},
		{`say "hi", twice`, "9"}, {"two\nlines", "10"}, {"gpt-5=mini", "11"}, {"", "12"},
		{"-0.25", "-13"}, {"-.5", "14"}, {"-1e5", "15"}, {"-", "16"},
	}
	if err := CSV(&b, []string{"model", "n"}, rows); err != nil {
		t.Fatal(err)
	}
	want := "model,n\n'=1+1,1\n'+1,2\n'-1+cmd|' /C calc'!A0,3\n'@SUM(A1),4\n'\t=1,5\n'=1,6\n'＝1,7\n'=1,8\n\"say \"\"hi\"\", twice\",9\ntwolines,10\ngpt-5=mini,11\n,12\n" +
		"-0.25,-13\n'-.5,14\n'-1e5,15\n'-,16\n"
	if b.String() != want {
		t.Errorf("got\n%q\nwant\n%q", b.String(), want)
	}
}
