package aaa

import "iwas/internal/hotspot"

// sentence is what a refusal says: to the guest in the site's language, and to
// the technician.
type sentence struct{ en, ar, technician string }

const (
	wrongEnglish = "This name, code or password is not right. Please check the spelling."
	wrongArabic  = "الاسم أو الرمز أو كلمة المرور غير صحيحة. يرجى التحقق من الكتابة."
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
	hotspot.ReasonTwoCredentials: {
		"The login page sent an unclear request. Please tell the staff.",
		"أرسلت صفحة الدخول طلبًا غير واضح. يرجى إبلاغ الموظفين.",
		"User-Password and CHAP-Password in one request, which RFC 2865 §4.1 forbids"},
	hotspot.ReasonMalformed: {
		"The login page sent an unclear request. Please tell the staff.",
		"أرسلت صفحة الدخول طلبًا غير واضح. يرجى إبلاغ الموظفين.",
		"an attribute of the request has a length or content its RFC forbids"},
	hotspot.ReasonMACMismatch: {
		"This pass belongs to another device.",
		"هذه البطاقة تخص جهازًا آخر.",
		"a device account was named, but Calling-Station-Id is another MAC"},
	hotspot.ReasonLocked: {
		"Your access is blocked. Please ask at the counter.",
		"تم إيقاف دخولك. يرجى مراجعة الموظفين.",
		"the account is locked"},
	hotspot.ReasonNoPass: {
		"There is no time on this account. Please ask at the counter.",
		"لا يوجد رصيد في هذا الحساب. يرجى مراجعة الموظفين.",
		"the account has no pass"},
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
	hotspot.ReasonTooManyDevices: {
		"Too many devices are online with this pass. Log one out first.",
		"عدد الأجهزة المتصلة بهذه البطاقة كبير. سجّل الخروج من أحدها أولًا.",
		"devices at once: live sessions and logins not yet started reach the plan's limit"},
}

// GuestMessage is the Reply-Message of a refusal in a language; English where
// the language is not known. At most 253 octets (RFC 2865 §5.18), tested.
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

// TechnicianMessage says the same to somebody who can mend it.
func TechnicianMessage(reason hotspot.Reason) string { return sentences[reason].technician }
