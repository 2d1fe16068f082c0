package aaa

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"iwas/internal/hotspot"
)

// sentence is what a refusal says: to the guest in the site's language, and to
// the technician.
type sentence struct{ en, ar, technician string }

const (
	wrongEnglish   = "This name, code or password is not right. Please check the spelling."
	wrongArabic    = "الاسم أو الرمز أو كلمة المرور غير صحيحة. يرجى التحقق من الكتابة."
	unclearEnglish = "The login page sent an unclear request. Please tell the staff."
	unclearArabic  = "أرسلت صفحة الدخول طلبًا غير واضح. يرجى إبلاغ الموظفين."
)

var sentences = map[hotspot.Reason]sentence{
	// Unknown and wrong password read the same: a stranger must not learn from
	// the login page which names exist. The technician is told them apart.
	hotspot.ReasonUnknown: {wrongEnglish, wrongArabic,
		"no account of that name, code or MAC at this site"},
	hotspot.ReasonBadPassword: {wrongEnglish, wrongArabic,
		"the password does not match; with CHAP a wrong shared secret cannot be the cause"},
	hotspot.ReasonNoCredential: {
		"Please enter your password.",
		"يرجى إدخال كلمة المرور.",
		"the request carried neither User-Password nor CHAP-Password"},
	hotspot.ReasonTwoCredentials: {unclearEnglish, unclearArabic,
		"User-Password and CHAP-Password in one request, which RFC 2865 §4.1 forbids"},
	hotspot.ReasonMalformed: {unclearEnglish, unclearArabic,
		"an attribute of the request has a length or content its RFC forbids"},
	hotspot.ReasonBadSecret: {unclearEnglish, unclearArabic,
		"the password arrived unreadable: the shared secret of /radius on the router is most likely another one than here"},
	hotspot.ReasonMACMismatch: {
		"This pass belongs to another device.",
		"هذه البطاقة تخص جهازًا آخر.",
		"a device account was named, but Calling-Station-Id is another MAC"},
	hotspot.ReasonLocked: {
		"Your access is blocked. Please ask at the counter.",
		"تم إيقاف دخولك. يرجى مراجعة الموظفين.",
		"the account is locked"},
	hotspot.ReasonPaused: {
		"Your time is paused. Please ask at the counter to go on.",
		"وقتك متوقف مؤقتًا. يرجى مراجعة الموظفين للمتابعة.",
		"the account is paused: its time does not run until somebody resumes it"},
	hotspot.ReasonDeviceLocked: {
		"This device is locked. Please ask at the counter.",
		"تم إيقاف هذا الجهاز. يرجى مراجعة الموظفين.",
		"the device is locked, whatever account it logs in with"},
	hotspot.ReasonNoPass: {
		"There is no time on this account. Please ask at the counter.",
		"لا يوجد رصيد في هذا الحساب. يرجى مراجعة الموظفين.",
		"the account has no pass: sell it one, or look whether its document is in force"},
	hotspot.ReasonNotYetValid: {
		"This pass is not valid yet.",
		"هذه البطاقة غير صالحة بعد.",
		"the pass's validity has not begun"},
	hotspot.ReasonExpired: {
		"This pass has expired. Please buy a new one.",
		"انتهت صلاحية هذه البطاقة. يرجى شراء بطاقة جديدة.",
		"the pass's validity is over"},
	hotspot.ReasonTimeUsed: {
		"Your time is used up. Please buy a new pass.",
		"انتهى وقتك. يرجى شراء بطاقة جديدة.",
		"the pass's time allowance is used"},
	hotspot.ReasonDataUsed: {
		"Your data is used up. Please buy a new pass.",
		"انتهت كمية البيانات. يرجى شراء بطاقة جديدة.",
		"the pass's data allowance is used"},
	hotspot.ReasonOutsideHours: {
		"This pass may not be used at this hour.",
		"لا يمكن استخدام هذه البطاقة في هذا الوقت.",
		"outside the hours of the plan"},
	hotspot.ReasonTooManyDevices: {
		"Too many devices are online with this pass. Log one out first.",
		"عدد الأجهزة المتصلة بهذه البطاقة كبير. سجّل الخروج من أحدها أولًا.",
		"devices at once: live sessions and logins not yet started reach the plan's limit"},
	hotspot.ReasonTooManyTries: {
		"Too many wrong tries. Please wait a minute, then try again.",
		"محاولات خاطئة كثيرة. يرجى الانتظار دقيقة ثم المحاولة مرة أخرى.",
		"wrong passwords or codes came too fast; this passes by itself"},
	hotspot.ReasonNoRoom: {
		"This pass cannot be started just now. Please ask at the counter.",
		"لا يمكن بدء استخدام هذه البطاقة الآن. يرجى السؤال عند الكاونتر.",
		"the disk of this box is full, so that the first use of a pass cannot be stored (DB-111)"},
}

// maxReplyMessage is the room of one Reply-Message (RFC 2865 §5.18).
const maxReplyMessage = 253

// GuestMessage is the Reply-Message of a refusal in a language; English where
// the language is not known. At most 253 octets.
func GuestMessage(reason hotspot.Reason, language string) string {
	s, known := sentences[reason]
	switch {
	case !known:
		return "Login is not possible now. Please ask at the counter."
	case language == "ar":
		return s.ar
	}
	return s.en
}

// TechnicianMessage says the same to somebody who can mend it; a verdict's
// Detail has the figures besides.
func TechnicianMessage(reason hotspot.Reason) string { return sentences[reason].technician }

// Refusal is the verdict on a request that no facts are needed to refuse.
func Refusal(reason hotspot.Reason, language string) hotspot.Verdict {
	return hotspot.Verdict{Reason: reason, Message: GuestMessage(reason, language), Detail: TechnicianMessage(reason)}
}

// cut shortens a text to at most n octets on the edge of a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// refuse is the refusal for a reason, with its sentences.
func refuse(f *hotspot.Facts, reason hotspot.Reason) hotspot.Verdict {
	v := hotspot.Verdict{Reason: reason, Message: GuestMessage(reason, f.Language), Detail: detail(f, reason)}
	if f.Account != nil {
		v.Account = f.Account.ID
	}
	if f.Pass != nil {
		v.Pass = f.Pass.ID
	}
	return v
}

// detail is the sentence for the technician with the figures behind a refusal,
// as far as the facts hold any.
func detail(f *hotspot.Facts, reason hotspot.Reason) string {
	p := f.Pass
	switch reason {
	case hotspot.ReasonLocked:
		return lockedSince(f, "locked", f.Lock)
	case hotspot.ReasonPaused:
		return lockedSince(f, "paused", f.Lock)
	case hotspot.ReasonDeviceLocked:
		return lockedSince(f, "this device is locked, whatever account it logs in with: locked", f.Device)
	case hotspot.ReasonNotYetValid:
		return fmt.Sprintf("the pass is valid from %s; now it is %s", moment(f, p.ValidFrom), moment(f, f.Now))
	case hotspot.ReasonExpired:
		return fmt.Sprintf("the pass was valid until %s; now it is %s", moment(f, p.ValidUntil), moment(f, f.Now))
	case hotspot.ReasonTimeUsed:
		if p.Limits.Clock == hotspot.Metered {
			return fmt.Sprintf("%v of %v online are used (metered)", p.Usage.Time.Truncate(time.Second), p.Limits.Time) + beyond(TimeBeyond(p))
		}
		return fmt.Sprintf("%v from the first login on %s are over since %s", p.Limits.Time, moment(f, p.Usage.FirstUsed), moment(f, p.Usage.FirstUsed.Add(p.Limits.Time)))
	case hotspot.ReasonDataUsed:
		return detailOfData(p)
	}
	return TechnicianMessage(reason)
}

// lockedSince says since when, by whom and why something is locked.
func lockedSince(f *hotspot.Facts, what string, l *hotspot.Lock) string {
	text := what + " on " + moment(f, l.At)
	if l.By != "" {
		text += " by " + l.By
	}
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	return cut(text, maxReplyMessage)
}

// DataUse is one data allowance of a pass and what is gone of it.
type DataUse struct {
	Name          string // "upload", "download" or "both ways"
	Allowed, Used hotspot.Octets
}

// Beyond is what was had above the allowance: what each device on did since its
// last record, at most an interim interval.
func (d DataUse) Beyond() hotspot.Octets { return max(d.Used, d.Allowed) - d.Allowed }

// DataUses returns the allowances a pass has.
func DataUses(p *hotspot.Pass) (out []DataUse) {
	l, u := &p.Limits, &p.Usage
	for _, d := range [...]DataUse{{"upload", l.Upload, u.Upload}, {"download", l.Download, u.Download}, {"both ways", l.Total, u.Upload.Add(u.Download)}} {
		if d.Allowed > 0 {
			out = append(out, d)
		}
	}
	return out
}

// TimeBeyond is what was had above a metered allowance, as DataUse.Beyond.
func TimeBeyond(p *hotspot.Pass) time.Duration {
	if p.Limits.Clock != hotspot.Metered || p.Limits.Time == 0 {
		return 0
	}
	return max(0, p.Usage.Time-p.Limits.Time).Truncate(time.Second)
}

// detailOfData names each allowance with what is used of it.
func detailOfData(p *hotspot.Pass) string {
	var parts []string
	for _, d := range DataUses(p) {
		parts = append(parts, fmt.Sprintf("%s of %s %s", d.Used, d.Allowed, d.Name)+beyond(d.Beyond()))
	}
	return "used: " + strings.Join(parts, ", ")
}

// beyond names what was had above an allowance, if anything was.
func beyond[T hotspot.Octets | time.Duration](n T) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%v beyond)", n)
}

// devicesShown is how many devices in the way a sentence names.
const devicesShown = 4

// detailOfDevices names the sessions in the way.
func detailOfDevices(f *hotspot.Facts, others []hotspot.Session) string {
	var parts []string
	for _, s := range others[:min(len(others), devicesShown)] {
		who := s.MAC.Masked()
		if who == "" {
			who = "a device without a MAC"
		}
		what := "online"
		switch s.State {
		case hotspot.Reserved:
			what = "let in, not yet online"
		case hotspot.Suspect:
			what = "perhaps online"
		}
		if !s.HeardAt.IsZero() {
			what += fmt.Sprintf(", heard %v ago", max(0, f.Now.Sub(s.HeardAt)).Truncate(time.Second))
		}
		parts = append(parts, who+" "+what)
	}
	if n := len(others) - len(parts); n > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", n))
	}
	return fmt.Sprintf("%d at once allowed; in the way: %s", f.Pass.Limits.DevicesAtOnce(), strings.Join(parts, "; "))
}

var arabicDays = [...]string{"الأحد", "الاثنين", "الثلاثاء", "الأربعاء", "الخميس", "الجمعة", "السبت"}

// refuseHours refuses a login outside the hours; opens is when they come back,
// zero if never.
func refuseHours(f *hotspot.Facts, opens time.Time) hotspot.Verdict {
	v := refuse(f, hotspot.ReasonOutsideHours)
	v.Detail = cut(fmt.Sprintf("allowed %s; now it is %s", strings.Join(f.Pass.Limits.Hours.Strings(), ", "), moment(f, f.Now)), 2*maxReplyMessage)
	if opens.IsZero() {
		return v
	}
	v.Detail += ", the next opening is " + moment(f, opens)
	at := opens.Format("15:04")
	if f.Language == "ar" {
		v.Message = "يمكن استخدام هذه البطاقة ابتداءً من يوم " + arabicDays[opens.Weekday()] + " الساعة " + at + "."
	} else {
		v.Message = "This pass may be used from " + opens.Weekday().String() + " " + at + " on."
	}
	v.Message = cut(v.Message, maxReplyMessage)
	return v
}

// moment writes a time in the site's zone for staff.
func moment(f *hotspot.Facts, t time.Time) string {
	zone := f.Location
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).Format("Mon 2 Jan 2006 15:04 MST")
}
