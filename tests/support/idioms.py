"""Expressions in the style of public analyses, by the language that they are written for.

Each text is given as it stands to its own language and to rootml: see `test_idioms.py` in
tests/rootml/expressions. The names are those of NanoAOD. `ELEMENTS` are compared in events with at
least three jets and two muons only: ROOT reads memory beyond a shorter list.
"""

from __future__ import annotations

# ruff: noqa: E501

RDATAFRAME = """
nJet >= 2
nJet >= 2 && nMuon == 2
nJet > 3 || MET_pt > 50
!(nJet > 3)
!HLT_IsoMu24 || nMuon > 0
HLT_IsoMu24 == true
HLT_IsoMu24 && nMuon > 0;
return nJet > 2 && MET_pt > 20;
nJet > 2 /* three jets */ && MET_pt > 20
(nJet >= 2) * MET_pt
MET_pt > 30 ? 1 : 0
nJet > 2 ? MET_pt : -1.f
nJet > 2 ? (nMuon > 0 ? 2 : 1) : 0
genWeight > 0 ? 1. : -1.
genWeight / std::abs(genWeight)
std::copysign(1., genWeight)
TMath::Sign(1., genWeight)
run == 1 && event % 2 == 0
event % 10 < 5
(flags & 4) != 0
(flags >> 2) & 1
(flags & 6) == 6
(flags | 1) > 8
flags & (1 << 3)
(flags & 0x10) != 0
!(flags & 1)
bool(flags & 2)
bool(flags & 2) && bool(flags & 4)
Sum(Jet_pt)
Sum(Jet_pt) + MET_pt
Sum(Jet_pt[Jet_pt > 30])
Sum(Jet_pt > 30)
Sum(Jet_pt > 30 && abs(Jet_eta) < 2.4)
Sum(Jet_pt > 30 && abs(Jet_eta) < 2.4) >= 2
Sum(Jet_pt > 30 || Jet_eta > 1)
Sum(Jet_pt[Jet_pt > 30 && abs(Jet_eta) < 2.4])
Sum(abs(Jet_eta) < 2.4 && Jet_jetId == 6)
Sum(Jet_btag > 0.7264f)
Sum(Jet_btag > 0.7264 && Jet_pt > 25)
Sum(Jet_pt[Jet_tight])
Sum(Jet_pt[!Jet_tight])
Sum(Jet_pt[Jet_jetId & 2])
Sum(Jet_pt[Jet_jetId & 6])
Sum(Jet_pt[(Jet_jetId & 2) && Jet_pt > 30])
Sum(Jet_pt[Jet_tight * (Jet_pt > 30)])
Sum(Jet_pt[(Jet_pt > 30) * (Jet_eta > 0)])
Sum(Jet_pt[(Jet_pt > 30) + (Jet_eta > 0)])
Sum(Jet_pt[Jet_jetId == 6])
Sum(Jet_pt[Jet_jetId > 0])
Sum(Jet_pt[Jet_jetId != 0])
Sum(Jet_jetId)
Sum(Muon_charge)
Sum(Muon_charge) == 0
Sum(Muon_charge[Muon_pt > 20])
Sum(Muon_tightId && Muon_pt > 20)
Sum(Muon_tightId && Muon_pt > 20) == 1 && Sum(Electron_pt > 20) == 0
Any(Jet_pt > 60)
All(Jet_pt > 20)
Any(Jet_pt > 60) || Any(Muon_pt > 40)
All(Muon_tightId)
Any(Jet_hadronFlavour == 5)
ROOT::VecOps::Any(Jet_pt > 50 && Jet_btag > 0.5)
Jet_pt.size()
Jet_pt[Jet_pt > 30].size()
Jet_pt[Jet_pt > 30].size() >= 2
Jet_pt[Jet_pt > 30 && abs(Jet_eta) < 2.5].size() == 2
Jet_pt.empty()
Muon_pt.empty() && Electron_pt.empty()
Muon_pt.size() + Electron_pt.size()
Mean(Jet_pt)
Mean(Jet_pt[Jet_pt > 40])
StdDev(Jet_pt)
Var(Jet_pt)
Product(Jet_btag)
Product(Jet_jetId)
Product(1 - Jet_btag)
Dot(Jet_pt, Jet_btag)
Dot(Jet_pt, Jet_pt)
nJet > 0 ? Max(Jet_pt) : -1
nJet > 0 ? Min(Jet_pt) : -1
nJet > 0 ? Max(abs(Jet_eta)) : -1
nJet > 0 ? Max(Jet_btag) : -1.f
nJet > 0 ? Jet_pt[ArgMax(Jet_btag)] : 0
nJet > 0 ? Jet_pt[ArgMin(Jet_eta)] : 0
ROOT::VecOps::Sum(Jet_pt)
ROOT::VecOps::Sum(Jet_pt * cos(Jet_phi))
sqrt(pow(Sum(Jet_pt * cos(Jet_phi)), 2) + pow(Sum(Jet_pt * sin(Jet_phi)), 2))
InvariantMass(Jet_pt, Jet_eta, Jet_phi, Jet_mass)
ROOT::VecOps::InvariantMass(Muon_pt, Muon_eta, Muon_phi, Muon_mass)
nMuon == 2 ? InvariantMass(Muon_pt, Muon_eta, Muon_phi, Muon_mass) : 0
InvariantMasses(Jet_pt, Jet_eta, Jet_phi, Jet_mass, Jet_pt, -Jet_eta, Jet_phi + 1, Jet_mass)
DeltaR(Jet_eta, -Jet_eta, Jet_phi, Jet_phi + 0.5)
ROOT::VecOps::DeltaR(Jet_eta, Jet_phi, Jet_phi, Jet_eta)
DeltaR2(Jet_eta, Jet_phi, Jet_phi, Jet_eta)
DeltaPhi(Jet_phi, MET_phi)
DeltaPhi(MET_phi, Jet_phi)
abs(DeltaPhi(Jet_phi, MET_phi))
Any(abs(DeltaPhi(Jet_phi, MET_phi)) < 0.5)
TVector2::Phi_mpi_pi(MET_phi - 4)
TVector2::Phi_mpi_pi(MET_phi * 3)
TVector2::Phi_0_2pi(MET_phi)
std::abs(TVector2::Phi_mpi_pi(MET_phi - x))
sqrt(2 * MET_pt * 40 * (1 - cos(MET_phi - 1.5)))
Jet_pt
Jet_pt * 1.1
Jet_pt / 1000
Jet_pt[Jet_pt > 30]
Jet_eta[Jet_pt > 30 && Jet_tight]
Jet_pt * cos(Jet_phi)
Jet_pt * sinh(Jet_eta)
sqrt(Jet_pt * Jet_pt + Jet_mass * Jet_mass)
pow(Jet_pt, 2)
log(Jet_pt)
exp(-Jet_pt / 50)
abs(Jet_eta)
floor(Jet_pt)
ceil(Jet_pt)
round(Jet_pt)
trunc(Jet_pt)
fmod(Jet_pt, 10.)
atan2(Jet_pt, Jet_mass)
hypot(Jet_pt, Jet_mass)
erf(Jet_eta)
erfc(Jet_eta)
lgamma(Jet_pt)
cbrt(Jet_pt)
log1p(Jet_pt)
expm1(Jet_eta)
asinh(Jet_eta)
acosh(Jet_pt)
atanh(Jet_btag)
Jet_pt > 30
Jet_pt > 30 && Jet_btag > 0.5
!(Jet_pt > 30)
Jet_pt > Jet_mass
Jet_jetId == 6
Jet_jetId & 2
-Jet_eta
Sort(Jet_pt)
Sort(Jet_eta)
Reverse(Sort(Jet_pt))
Reverse(Jet_pt)
Argsort(Jet_pt)
Reverse(Argsort(Jet_pt))
Take(Jet_pt, Argsort(Jet_pt))
Take(Jet_eta, Reverse(Argsort(Jet_pt)))
Take(Jet_pt, Reverse(Argsort(Jet_btag)))
Take(Jet_pt, Nonzero(Jet_pt > 30))
Take(Jet_pt, 2, -1.)
Take(Jet_pt, 4, 0.)
Take(Jet_pt, -2, -1.)
Nonzero(Jet_pt > 30)
Nonzero(Jet_tight)
Concatenate(Muon_pt, Electron_pt)
Sort(Concatenate(Muon_pt, Electron_pt))
Sum(Concatenate(Muon_pt, Electron_pt))
Where(Jet_pt > 30, Jet_pt, 0.)
Where(Jet_pt > 30, 1., 0.)
Where(Jet_btag > 0.5, Jet_eta, Jet_phi)
Enumerate(Jet_pt)
Combinations(Muon_pt, Electron_pt)[0]
Combinations(Muon_pt, Electron_pt)[1]
Take(Muon_pt, Combinations(Muon_pt, Electron_pt)[0])
Take(Muon_pt, Combinations(Muon_pt, Jet_pt)[0]) + Take(Jet_pt, Combinations(Muon_pt, Jet_pt)[1])
int(MET_pt)
(int)MET_pt
static_cast<int>(MET_pt)
static_cast<double>(nJet) / nMuon
(double)nJet / (nMuon + 1)
int(MET_pt / 10) * 10
int(x * 0 + 3.7)
(int)-3.7
float(nJet)
double(MET_pt) * 2
Int_t(MET_pt)
(Float_t)genWeight
bool(nJet)
long(MET_pt)
unsigned(nJet)
std::pow(MET_pt, 2)
std::sqrt(MET_pt)
std::exp(-MET_pt / 30)
std::log(MET_pt)
std::max(genWeight, 0.5)
std::min(genWeight, 0.5)
std::max({genWeight, 0.5, 0.7})
std::hypot(genWeight, 2.)
std::fabs(genWeight)
std::floor(MET_pt)
std::isnan(x)
std::isfinite(x)
std::signbit(genWeight)
std::fdim(genWeight, 0.5)
TMath::Abs(genWeight)
TMath::Sqrt(MET_pt)
TMath::Power(MET_pt, 2)
TMath::Exp(-MET_pt / 30)
TMath::Log(MET_pt)
TMath::Log10(MET_pt)
TMath::Max(genWeight, 0.5)
TMath::Min(nJet, 3)
TMath::ATan2(genWeight, 2.)
TMath::Cos(MET_phi)
TMath::CosH(MET_phi)
TMath::Hypot(genWeight, 2.)
TMath::Nint(genWeight)
TMath::Floor(genWeight)
TMath::Even(nJet)
TMath::Odd(nJet)
TMath::Range(-1., 1., genWeight)
TMath::Erf(genWeight)
TMath::Erfc(genWeight)
TMath::Gaus(genWeight)
TMath::Gaus(genWeight, 0.5, 2)
TMath::Gaus(genWeight, 0.5, 2, true)
TMath::BreitWigner(MET_pt, 91.2, 2.5)
TMath::Freq(genWeight)
TMath::IsNaN(x)
TMath::Finite(x)
TMath::Pi()
MET_phi * TMath::RadToDeg()
MET_phi * TMath::DegToRad()
MET_phi > 0 ? MET_phi : MET_phi + TMath::TwoPi()
MET_phi / M_PI
MET_phi > TMath::PiOver2()
MET_phi < M_PI_2 && MET_phi > -M_PI_2
TMath::E() * nJet
HLT_IsoMu24 == kTRUE
x / 0.
sqrt(x)
log(x)
1 / (x - x)
MET_pt > 20 && MET_pt < 80
nJet == 2 && Sum(Jet_pt) > 50 ? Mean(Jet_pt) : MET_pt
1e3 * MET_pt
.5 * MET_pt
MET_pt - 1.5e1
5 - nJet * 2
(nJet + 1) * (nMuon - 1)
-nJet + 4
nJet % 2 == 1
nJet << 2
Jet_pt[Jet_jetId == 6 && Jet_pt > 25].size()
Sum(Jet_pt[Jet_jetId == 6 && Jet_pt > 25])
nMuon > 0 ? Max(Muon_pt) : 0.f
ROOT::VecOps::Sum(Muon_charge)
ROOT::VecOps::abs(Jet_eta)
ROOT::VecOps::sqrt(Jet_pt)
ROOT::VecOps::pow(Jet_pt, 2)
ROOT::VecOps::cos(Jet_phi) * Jet_pt
ROOT::VecOps::Max(ROOT::VecOps::Concatenate(Jet_pt, ROOT::RVecF{0.f}))
ROOT::Math::Pi()
MET_phi > ROOT::Math::Pi() ? 1 : 0
(flags & (1 << 3)) != 0
((flags >> 3) & 1) == 1
(flags & 1) && (flags & 2)
!(flags & 1) && !(flags & 2)
flags & 1 ? 1 : 0
(flags & 12) >> 2
flags & ~4
~flags
~flags & 7
~uflags & 7u
~uflags
i8 > -1
u8 > -1
u16 > -1
u8 - 200
u16 - 60000
i8 * i8 * 4
u8 * u8 * 4
i8 + i8
u8 + u8
i16 * i16
i8 << 4
i8 >> 1
-i8 >> 1
i8 % 3
-i8 % 3
i8 % -3
i16 / 7.
i8 == u8
i8 < u8
i64 % 10
i64 + 1
i64 == 9007199254740993
i64 > 9007199254740992
i64 - 9007199254740992
u64 % 1000
u64 > 5
f01 == 0.1f
f01 == 0.1
f01 < 0.1
f01 > 0.1
f01 >= 0.1f
f01 - 0.1
b1 + b2
b1 * 2
b1 == b2
b1 != b2
b1 & b2
b1 | b2
b1 && !b2
!b1 + 1
-b1
b1 > 0
b1 * MET_pt
!x
!MET_pt
!!nJet
!nJet == 0
1 - b1
nJet == 2 & nMuon == 2
nJet > 1 | nMuon > 1
nJet << 1 > 4
nJet + 1 << 2
1. / 2 * x
1 / 2. * x
1 / 2.f * MET_pt
x * 1 / 2
2 * x / 3 * 4
-7 % 3
7 % -3
-8 >> 1
7 / 2.
pow(nJet, 2)
pow(2, nJet)
pow(nJet, 0.5)
pow(-2, 3)
std::pow(2, -1)
pow(x, 3)
pow(Jet_jetId, 2)
pow(2, Jet_jetId)
std::max(nJet, 2)
std::min(nJet, nMuon)
std::max<float>(MET_pt, 20)
std::max(MET_pt, 20.f)
std::min<double>(MET_pt, 20)
std::max(1., x)
std::max({1., x, genWeight})
std::min({nJet, nMuon, 2})
std::clamp(genWeight, -0.5, 0.5)
std::remainder(genWeight, 0.3)
remainder(genWeight, 0.3)
std::fmod(genWeight, 0.3)
fmod(-7.5, 2)
std::round(genWeight * 2)
std::lround(genWeight * 2)
std::rint(genWeight * 2)
std::nearbyint(genWeight * 2)
std::trunc(genWeight * 2)
std::ceil(genWeight)
std::log2(MET_pt)
std::exp2(genWeight)
std::cbrt(genWeight)
std::tgamma(MET_pt / 20)
std::lgamma(MET_pt)
std::erf(genWeight)
std::sin(x) / std::cos(x)
std::atan2(genWeight, x)
std::isinf(1 / (x - x))
std::abs(i8)
abs(i8)
std::abs(-3)
fabs(nJet - 3)
std::copysign(MET_pt, -1.f)
std::sqrt(std::pow(MET_pt * std::cos(MET_phi), 2) + std::pow(MET_pt * std::sin(MET_phi), 2))
std::hypot(MET_pt * cos(MET_phi) + 20, MET_pt * sin(MET_phi))
TMath::Sqrt(2 * MET_pt * 30 * (1 - TMath::Cos(MET_phi)))
TMath::Sq(genWeight)
TMath::Sign(1, nJet - 2)
TMath::Sign(genWeight, x)
TMath::Max(nJet, 3)
TMath::Max(MET_pt, 20.f)
TMath::Power(genWeight, 3)
TMath::FloorNint(genWeight)
TMath::CeilNint(genWeight)
TMath::Ceil(genWeight)
TMath::Log2(MET_pt)
TMath::Gamma(3.5)
TMath::LnGamma(MET_pt)
TMath::Factorial(nJet)
TMath::Binomial(5, nJet)
TMath::Prob(MET_pt, 5)
TMath::Poisson(nJet, 2.5)
TMath::Exp(-TMath::Power((MET_pt - 91.2) / 2.5, 2) / 2)
TMath::LogE()
TMath::Ln10()
TMath::C()
TMath::Abs(nJet - 3)
TMath::ErfInverse(genWeight / 10)
TMath::CosH(genWeight)
TMath::ATanH(genWeight / 10)
TMath::Hypot(MET_pt, 3)
TMath::IsNaN(genWeight)
TMath::Even(5)
TMath::Infinity()
TMath::Nint(2.5)
TMath::Nint(-2.5)
TMath::Nint(MET_pt)
Any(Jet_pt > 50 && abs(Jet_eta) < 2.5 && Jet_btag > 0.3)
All(Jet_pt > 20 || Jet_eta > 0)
!Any(Jet_pt > 60)
Any(Jet_pt > 60) ? 1 : 0
Any(!Jet_tight)
Sum(!Jet_tight)
Sum(Jet_tight)
Sum(Jet_tight && Jet_pt > 20)
Sum(Jet_tight == 1)
Sum(Jet_tight == true)
Sum(Muon_tightId == 1 && Muon_pt > 10)
Sum((Jet_jetId & 2) != 0)
Sum((Jet_jetId & 2) == 2)
Sum((Jet_jetId & 2) > 0 && Jet_pt > 20)
Sum(Jet_jetId & 2)
Sum(Jet_jetId % 2)
Sum(Jet_jetId % 2 == 0)
Sum(-Jet_jetId % 3)
Sum(-Jet_jetId)
Sum(~Jet_jetId)
Sum(Jet_jetId * Jet_jetId)
Jet_i8 * 2
Jet_i8 + Jet_i8
Jet_u8 + Jet_u8
Jet_u8 - 200
Jet_u8 * 4
Jet_u8 == 200
Jet_u8 > 100
Jet_i8 > -1
Jet_u8 & 4
(Jet_u8 & 4) > 0
Sum((Jet_u8 & 4) > 0)
~Jet_u8
!Jet_u8
!Jet_jetId
abs(Jet_i8)
abs(Jet_charge)
Jet_pt[Jet_u8 & 1]
Jet_pt[!(Jet_u8 & 1)]
Jet_pt[Jet_u8 > 100]
Jet_f32 * 1.1f
Jet_f32 > 0.1f
Jet_f32 == 0.1f
Jet_f32 > 0.1
Jet_f32 == 0.1
Sum(Jet_f32 >= 0.1f)
Sum(Jet_pt * Jet_tight)
Jet_pt * Jet_tight
Jet_pt + Jet_jetId
1 / Jet_pt
1. / Jet_pt
2 - Jet_pt
Jet_pt > MET_pt
MET_pt < Jet_pt
Jet_pt - Mean(Jet_pt)
Jet_pt / Sum(Jet_pt)
Jet_pt == Max(Jet_pt)
Jet_pt[Jet_pt == Max(Jet_pt)]
Jet_pt[Jet_pt > Mean(Jet_pt)]
Jet_pt[abs(Jet_eta) < 2.4 && (Jet_jetId == 6 || Jet_pt > 50)]
Jet_pt[Jet_tight && Jet_pt > 25]
Jet_pt[Jet_tight == 1 && Jet_pt > 25]
Jet_pt[Jet_pt > 30][Jet_eta[Jet_pt > 30] > 0]
Jet_pt[(abs(Jet_eta) < 1.4442) || (abs(Jet_eta) > 1.566 && abs(Jet_eta) < 2.5)]
Sum(Muon_pt > 25 && abs(Muon_eta) < 2.4 && Muon_tightId) == 1
Sum(Muon_pt > 10) + Sum(Electron_pt > 10) == 2
Sum(Electron_charge) + Sum(Muon_charge)
(nMuon == 2 && Sum(Muon_charge) == 0) || (nElectron == 2 && Sum(Electron_charge) == 0)
nMuon >= 2 && Muon_charge[0] * Muon_charge[1] < 0
nJet >= 2 && Jet_pt[0] > 40 && Jet_pt[1] > 20
nJet > 0 ? Jet_pt[0] : -99
nJet > 0 ? Jet_pt[0] : -99.f
nJet > 1 ? Jet_pt[1] : 0.
nJet > 0 && Jet_pt[0] > 30 ? Jet_eta[0] : -9
Jet_pt.size() > 1 ? abs(Jet_eta[0] - Jet_eta[1]) : -1
Jet_pt.size() >= 2 && abs(DeltaPhi(Jet_phi[0], Jet_phi[1])) > 1
Muon_pt.size() == 2 ? DeltaR(Muon_eta[0], Muon_eta[1], Muon_phi[0], Muon_phi[1]) : -1
Nonzero(Jet_pt > 30 && Jet_tight)
Nonzero(Jet_pt > 30).size()
Sum(Nonzero(Jet_pt > 30))
Take(Jet_eta, Nonzero(Jet_pt > 30))
Take(Jet_pt, Argsort(-Jet_pt))
Concatenate(Jet_pt[Jet_tight], Muon_pt)
Concatenate(Jet_jetId, Jet_jetId)
Max(Concatenate(Concatenate(Muon_pt, Electron_pt), ROOT::RVecD{-1.}))
Reverse(Sort(Concatenate(Muon_pt, Electron_pt)))
Sort(-Jet_pt)
-Sort(-Jet_pt)
Jet_pt[Jet_pt > 30].size() > 0 ? Max(Jet_pt[Jet_pt > 30]) : -1
Where(Jet_pt > 30, 1, 0)
Where(Jet_tight, Jet_pt, -Jet_pt)
Where(Jet_jetId == 6, 1.f, -1.f)
Sum(Where(Jet_pt > 30, Jet_pt, 0.))
Product(Where(Jet_tight, 0.98, 1.))
Mean(Jet_jetId)
Mean(Jet_pt > 30)
Mean(Jet_tight)
Var(Jet_jetId)
StdDev(Jet_eta)
Sum(pow(Jet_pt, 2))
sqrt(Sum(pow(Jet_pt, 2)))
Sum(Jet_pt * cosh(Jet_eta))
Sum(Jet_pt * sinh(Jet_eta)) / Sum(Jet_pt * cosh(Jet_eta))
atan2(Sum(Jet_pt * sin(Jet_phi)), Sum(Jet_pt * cos(Jet_phi)))
Dot(Jet_pt, cos(Jet_phi))
Sum(abs(DeltaPhi(Jet_phi, MET_phi)) < 0.4)
Jet_phi - MET_phi
abs(Jet_phi - MET_phi)
DeltaPhi(Jet_phi, Jet_eta)
DeltaR(Jet_eta, Jet_eta + 1, Jet_phi, Jet_phi + 1)
ROOT::VecOps::DeltaPhi(MET_phi, 1.5)
ROOT::VecOps::DeltaPhi<double>(MET_phi, 1.5)
ROOT::VecOps::DeltaR(0.1, 0.5, 1., 2.)
DeltaR(0.1, 0.5, 3.1, -3.1)
InvariantMass(Jet_pt[Jet_tight], Jet_eta[Jet_tight], Jet_phi[Jet_tight], Jet_mass[Jet_tight])
InvariantMass(Take(Jet_pt, Nonzero(Jet_tight)), Take(Jet_eta, Nonzero(Jet_tight)), Take(Jet_phi, Nonzero(Jet_tight)), Take(Jet_mass, Nonzero(Jet_tight)))
InvariantMass(Concatenate(Muon_pt, Electron_pt), Concatenate(Muon_eta, Electron_eta), Concatenate(Muon_phi, Electron_phi), Concatenate(Muon_mass, Electron_mass))
static_cast<float>(genWeight)
static_cast<int>(genWeight * 10)
(int)(genWeight * 10)
int(genWeight * 10) % 3
(float)genWeight
(bool)nJet
(bool)MET_pt
bool(x)
unsigned(nJet) + 1
(unsigned char)nJet
(short)MET_pt
(char)nJet
(long long)MET_pt
(int)true + 1
double(nJet) / 4
float(nJet) / 4
1.0 * nJet / 4
nJet / 4.f
nJet * 0.25f
0x1F & flags
0b101 & flags
1e-3f * MET_pt
1.e3 * MET_pt
10u + nJet
5L * nJet
1ull << 40
1LL << nJet
MET_pt > 1e2
MET_pt>30&&nJet>=2||nMuon>0
MET_pt > 30 and nJet >= 2
MET_pt > 30 or not (nJet >= 2)
not b1
MET_pt>-1
x<-1
x< -1
x-1
x -1
x- -1
- x
+x
-(-x)
+nJet
!(!b1)
(((x)))
true
false
true && b1
nJet == 2 ? b1 : b2
b1 ? nJet : nMuon
b1 ? x : nJet
nJet > 3 ? 3 : nJet > 2 ? 2 : nJet > 1 ? 1 : 0
nJet > 2 ? nMuon > 1 ? 1 : 2 : 3
(b1 ? 1 : 2) + (b2 ? 10 : 20)
b1 ? 1 : 2 + 10
b1 || b2 ? 1 : 0
b1 == true ? 1. : 0.
nJet > 2 && b1 ? MET_pt : 0
Jet_pt.size() - 1 + 1
Jet_pt.size() > nMuon
int(Jet_pt.size()) - 5
(int)Jet_pt.size() - 5
Jet_pt.size() * 1. - 5
Jet_pt.empty() ? -1. : 2.
Jet_pt.size() == 0
Any(Jet_hadronFlavour == 5 && Jet_pt > 20)
Sum(Jet_hadronFlavour == 5) >= 1 && Sum(Jet_hadronFlavour == 4) == 0
Sum(abs(Jet_hadronFlavour) == 5)
Sum(Jet_charge * Jet_pt)
Sum(Jet_charge > 0) - Sum(Jet_charge < 0)
Sum(Jet_pt[Jet_charge > 0]) - Sum(Jet_pt[Jet_charge < 0])
log(Sum(Jet_pt) + 1)
Sum(log(Jet_pt))
exp(Sum(log(Jet_btag)))
MET_pt / sqrt(Sum(Jet_pt) + 1)
isnan(x) || isinf(x)
std::isnan(genWeight) ? 0 : genWeight
run >= 1 && run <= 2
event % 2
event % 2 == 0 ? 1 : 2
event / 10.
(event * 7 + 3) % 5
event & 1
HLT_IsoMu24 || b1
HLT_IsoMu24 + b1 + b2
(HLT_IsoMu24 || b1) && !b2
HLT_IsoMu24 == 0
HLT_IsoMu24 != false
genWeight < 0 ? -1 : 1
genWeight > 0 ? MET_pt : -MET_pt
1 ? MET_pt : 0
abs(genWeight) * (genWeight > 0 ? 1 : -1)
genWeight * 59.7 * 1000 / 1e6
genWeight * (b1 ? 1.02 : 0.98)
v3.size()
v3[0] + v3[1] * v3[2]
Sum(v3)
Max(v3)
v3 * 2.
v3[2] > v3[1]
Sum(v3 > 0)
Take(Jet_pt, {0, 1}, 0.)
ROOT::VecOps::hypot(Jet_pt, Jet_mass)
std::max<double>(MET_pt, genWeight)
std::max<int>(MET_pt, 20)
std::max<float>(genWeight, 0.3)
Concatenate(Jet_pt, ROOT::RVecD{1., MET_pt})
Sum(ROOT::RVecD{1., MET_pt, genWeight})
ROOT::RVec<double>{genWeight, x}
ROOT::RVecF{0.1f, 2.f}
Max(ROOT::RVecD{1., MET_pt})
(~Jet_u8) & 7
~Jet_u8 & 7
~u8 & 7
uflags & ~7u
TMath::Binomial(nJet, 2)
TMath::NormQuantile(0.3)
TMath::Prob(MET_pt, nJet)
std::remainder(x, 2.)
std::remainder(nJet, 2)
std::remainder(nJet * 1.5, -3)
0x0F & flags
0b0110 & flags
""".strip().splitlines()  # fmt: skip

ELEMENTS = """
Jet_pt[0]
Jet_pt[0] > 40
Jet_pt[0] > 40 && Jet_pt[1] > 30
Jet_pt.at(0)
Electron_pt.at(0, -1.)
Jet_pt.at(1) > 30 || Jet_pt.at(2) > 20
Jet_pt.front()
Jet_pt.back()
Jet_pt[nJet - 1]
Jet_pt[Jet_pt.size() - 1]
abs(Jet_eta[0] - Jet_eta[1])
Jet_eta[0] * Jet_eta[1] < 0
Muon_charge[0] * Muon_charge[1] < 0
Muon_charge[0] != Muon_charge[1]
Muon_charge[0] + Muon_charge[1] == 0
Jet_tight[0] && Jet_tight[1]
ROOT::VecOps::DeltaPhi(Jet_phi[0], Jet_phi[1])
ROOT::VecOps::DeltaR(Jet_eta[0], Jet_eta[1], Jet_phi[0], Jet_phi[1])
ROOT::VecOps::DeltaR(Muon_eta[0], Muon_eta[1], Muon_phi[0], Muon_phi[1]) > 0.4
sqrt(2 * Muon_pt[0] * Muon_pt[1] * (cosh(Muon_eta[0] - Muon_eta[1]) - cos(Muon_phi[0] - Muon_phi[1])))
sqrt(2 * Muon_pt[0] * MET_pt * (1 - cos(Muon_phi[0] - MET_phi)))
Jet_pt[ArgMax(Jet_btag)]
Jet_pt[Jet_pt > 10][0]
Sort(Jet_pt)[0]
Reverse(Sort(Jet_pt))[1]
Take(Jet_pt, Reverse(Argsort(Jet_pt)))[0]
Take(Jet_pt, 2)
Take(Jet_pt, -2)
Sum(Take(Jet_pt, 2))
Take(Jet_pt, Combinations(Jet_pt, 2)[0])
Take(Jet_pt, Combinations(Jet_pt, 2)[0]) + Take(Jet_pt, Combinations(Jet_pt, 2)[1])
Max(abs(DeltaPhi(Take(Jet_phi, Combinations(Jet_phi, 2)[0]), Take(Jet_phi, Combinations(Jet_phi, 2)[1]))))
Combinations(Jet_pt, 3)[2]
Jet_pt - Jet_pt[0]
Sum(Jet_pt > Jet_pt[1])
Max(Jet_pt) / Min(Jet_pt)
(Jet_pt[0] - Jet_pt[1]) / (Jet_pt[0] + Jet_pt[1])
Jet_jetId[0] & 2
Jet_hadronFlavour[0] == 5 ? 1 : 0
int(Jet_pt[0])
(int)Jet_pt[0] % 7
Jet_pt[Jet_pt.size() - 2]
Jet_pt[nJet - 2]
Jet_pt[0] + Jet_pt[1] + Jet_pt[2]
Jet_pt[nMuon > 2 ? 1 : 0]
Jet_pt[0] > Jet_pt[1] ? Jet_eta[0] : Jet_eta[1]
Jet_pt[int(event % 2)]
Jet_pt[event % 2]
Jet_pt[ArgMin(abs(Jet_eta))]
Jet_eta[ArgMax(Jet_pt * cosh(Jet_eta))]
Jet_pt[Argsort(Jet_btag)[0]]
Jet_pt[Reverse(Argsort(Jet_btag))[1]]
Jet_pt[Nonzero(Jet_pt > 10)[0]]
Take(Jet_pt, Argsort(Jet_eta))[1]
Max(Jet_pt) - Min(Jet_pt)
Max(Jet_pt[Jet_pt > 1])
Min(DeltaR(Jet_eta, Jet_eta * 0 + Muon_eta[0], Jet_phi, Jet_phi * 0 + Muon_phi[0]))
Jet_i8[0] + Jet_i8[1]
Jet_u8[0] - Jet_u8[1]
Jet_u8[0] * Jet_u8[1]
Jet_u8[0] < Jet_i8[0]
Jet_i8[0] % 5
!Jet_u8[0]
Jet_tight[0] + Jet_tight[1]
Jet_tight[0] == Jet_tight[1]
Jet_tight[0] ? Jet_pt[0] : Jet_pt[1]
Jet_f32[0] == 0.1f
Jet_f32[0] == Jet_f32[1]
Jet_f32[0] > 0.1
(Jet_jetId[0] & 4) != 0
(Jet_jetId[0] >> 1) & 1
abs(Jet_hadronFlavour[0]) == 5
Jet_pt.at(0) + Jet_pt.at(1)
Jet_pt[0] * cos(Jet_phi[0]) + Jet_pt[1] * cos(Jet_phi[1])
InvariantMass(Take(Jet_pt, 2), Take(Jet_eta, 2), Take(Jet_phi, 2), Take(Jet_mass, 2))
InvariantMass(Take(Jet_pt, ROOT::VecOps::RVec<int>{0, 1}), Take(Jet_eta, ROOT::VecOps::RVec<int>{0, 1}), Take(Jet_phi, ROOT::VecOps::RVec<int>{0, 1}), Take(Jet_mass, ROOT::VecOps::RVec<int>{0, 1}))
Max(InvariantMasses(Take(Jet_pt, Combinations(Jet_pt, 2)[0]), Take(Jet_eta, Combinations(Jet_pt, 2)[0]), Take(Jet_phi, Combinations(Jet_pt, 2)[0]), Take(Jet_mass, Combinations(Jet_pt, 2)[0]), Take(Jet_pt, Combinations(Jet_pt, 2)[1]), Take(Jet_eta, Combinations(Jet_pt, 2)[1]), Take(Jet_phi, Combinations(Jet_pt, 2)[1]), Take(Jet_mass, Combinations(Jet_pt, 2)[1])))
Take(Jet_charge, Combinations(Jet_pt, 2)[0]) * Take(Jet_charge, Combinations(Jet_pt, 2)[1])
Sum(Take(Jet_charge, Combinations(Jet_pt, 2)[0]) * Take(Jet_charge, Combinations(Jet_pt, 2)[1]) < 0)
Combinations(Jet_pt, 2)[0].size()
Combinations(Jet_pt, 2).size()
Combinations(Jet_pt, Muon_pt)[0][1]
Combinations(Jet_pt, 2)[0][0] + Combinations(Jet_pt, 2)[1][0]
Jet_pt[0] / Jet_pt[1] - 1
TVector2::Phi_mpi_pi(Jet_phi[0] - MET_phi)
Jet_pt[1] < 30 && Jet_pt[2] < 30
Sum(Jet_pt[Jet_pt < Jet_pt[0]])
Jet_pt[Jet_pt < Jet_pt[0]].size()
Sum(DeltaR(Jet_eta, Jet_eta * 0 + Jet_eta[0], Jet_phi, Jet_phi * 0 + Jet_phi[0]) < 0.4)
Jet_pt[Muon_jetIdx[0] < 0 ? 0 : Muon_jetIdx[0]]
Take(Jet_pt, 1)[0]
Take(Jet_pt, -1)[0]
Sort(Jet_pt)[Jet_pt.size() - 1]
Reverse(Jet_pt)[0]
Max(Take(Jet_pt, 3))
Mean(Take(Jet_eta, 2))
Dot(Take(Jet_pt, 2), Take(Jet_eta, 2))
Take(Jet_pt, {0, 1})
Sum(Take(Jet_pt, {1, 0}))
Take(Jet_pt, ROOT::RVecI{2, 0})
Take(Jet_pt, ROOT::VecOps::RVec<int>{nMuon > 2 ? 1 : 0})
(ROOT::Math::PtEtaPhiMVector(Muon_pt[0], Muon_eta[0], Muon_phi[0], Muon_mass[0]) + ROOT::Math::PtEtaPhiMVector(Muon_pt[1], Muon_eta[1], Muon_phi[1], Muon_mass[1])).M()
(ROOT::Math::PtEtaPhiMVector(Jet_pt[0], Jet_eta[0], Jet_phi[0], Jet_mass[0]) + ROOT::Math::PtEtaPhiMVector(Muon_pt[0], Muon_eta[0], Muon_phi[0], 0.105)).Pt()
ROOT::Math::VectorUtil::DeltaR(ROOT::Math::PtEtaPhiMVector(Jet_pt[0], Jet_eta[0], Jet_phi[0], Jet_mass[0]), ROOT::Math::PtEtaPhiMVector(Muon_pt[0], Muon_eta[0], Muon_phi[0], Muon_mass[0])) < 2
TLorentzVector(Jet_pt[0] * cos(Jet_phi[0]), Jet_pt[0] * sin(Jet_phi[0]), 20, 300).DeltaR(TLorentzVector(1, 2, 3, 4))
ROOT::VecOps::Construct<ROOT::Math::PtEtaPhiMVector>(Jet_pt, Jet_eta, Jet_phi, Jet_mass)[1].Rapidity()
(Construct<ROOT::Math::PtEtaPhiMVector>(Jet_pt, Jet_eta, Jet_phi, Jet_mass)[0] + Construct<ROOT::Math::PtEtaPhiEVector>(Jet_pt, Jet_eta, Jet_phi, Jet_mass)[1]).Eta()
Construct<ROOT::Math::XYZVector>(Jet_eta, Jet_phi, Jet_btag)[0].Cross(ROOT::Math::XYZVector(1, MET_phi, 3)).R()
Construct<TVector3>(Jet_eta, Jet_phi, Jet_btag)[2].Angle(TVector3(1, 2, 3))
ROOT::Math::RhoEtaPhiVector(MET_pt, Jet_eta[0], MET_phi).Dot(ROOT::Math::XYZVector(1, 2, 3))
(2 * ROOT::Math::PxPyPzEVector(Jet_eta[0], Jet_eta[1], MET_pt, 500) - ROOT::Math::PxPyPzMVector(1, 2, 3, 4)).M()
(Jet_pt[0] > Muon_pt[0] ? ROOT::Math::PtEtaPhiMVector(Jet_pt[0], Jet_eta[0], Jet_phi[0], 5) : ROOT::Math::PtEtaPhiMVector(Muon_pt[0], Muon_eta[0], Muon_phi[0], 0.1)).E()
ROOT::Math::PtEtaPhiMVector(MET_pt, 1.5, MET_phi + 7, 0).Phi()
TVector2(MET_pt, MET_phi).Phi()
""".strip().splitlines()  # fmt: skip

DRAW = """
nJet
nJet >= 2
nJet >= 2 && nMuon == 2
!(nJet > 3)
(nJet > 2) * MET_pt
(nJet > 2) + (nMuon > 1)
MET_pt / nJet
MET_pt / (nMuon > 1)
nJet / 2
nJet % 2
x % 3
MET_pt % 7
-MET_pt % 7
sqrt(x)
sqrt(-MET_pt)
log(x)
log(nJet)
log10(x)
log10(nMuon)
acos(x)
asin(x)
acos(genWeight)
nJet^2
2^nJet
MET_pt^2 + 1
-nJet^2
pow(MET_pt, 2)
exp(-MET_pt / 30)
abs(x) > 1
fabs(genWeight)
TMath::Abs(genWeight)
TMath::Sqrt(MET_pt)
TMath::Power(MET_pt, 2)
TMath::Max(nJet, nMuon)
TMath::Pi() * nJet
TMath::Gaus(genWeight, 0, 2)
min(nJet, nMuon)
max(MET_pt, 20)
int(MET_pt)
int(-MET_pt)
sin(MET_phi) * MET_pt
atan2(genWeight, 2)
MET_pt > 30 ? 1 : 0
nJet > 2 ? MET_pt : -1
flags & 4
(flags & 6) == 6
flags << 1
nJet - nMuon - 1
MET_pt / 2 / 3
2^nMuon^2
-2^nJet
!nJet > 2
nJet > 3 || nMuon > 1 && MET_pt > 20
nJet > 3 ? 1 : nMuon > 1 ? 2 : 3
nJet + nMuon << 1
2 * nJet << 1
nJet << 1 * 2
nJet + 5 % 3
5 % 3 + nJet
nJet % 3 << 1
nJet << 1 % 3
nJet - nMuon % 2 * 3
nJet % 3 * 2
2 * nJet % 3
nJet - -3
MET_pt - 2 * 3 + 1
nJet / 2 * 3
nJet == 2 || nJet == 3
(nJet & 1) == 1
(nJet | 4) > 5
nJet & 3
genWeight * (nJet >= 2 && MET_pt > 20)
Sum$(Jet_pt)
Sum$(Jet_pt > 30)
Sum$(Jet_pt > 30 && abs(Jet_eta) < 2.4) >= 2
Sum$(Jet_pt * (abs(Jet_eta) < 2.4))
Sum$(Jet_pt / Jet_mass)
Sum$(sqrt(Jet_eta))
Length$(Jet_pt)
Max$(Jet_pt)
Min$(Jet_eta)
Max$(abs(Jet_eta)) < 2
Max$(Jet_pt * (Jet_btag > 0.5))
MaxIf$(Jet_pt, Jet_eta > -9)
Sum$(Jet_pt) / Length$(Jet_pt)
Alt$(Jet_pt[0], -1)
Alt$(Jet_pt[1], -1) > 30
Alt$(Jet_pt[3], 0) + Alt$(Muon_pt[0], 0)
Sum$(Muon_charge) == 0
(Sum$(Jet_pt > 30) >= 2) * genWeight
Jet_pt
Jet_pt * 2
Jet_pt > 30
Jet_pt / Jet_mass
Jet_jetId & 2
sqrt(Jet_eta)
log(Jet_eta)
Jet_pt * cos(Jet_phi)
1/2*x
1/2
x/2/3
nJet/2
i64
u8 - 200
u8*u8*4
i8*i8*4
u16*u16*u16
uflags > -1
i8 < u8
-u8
!u8
u8 & 4
i8 % 5
i8 / 0
0/i8
i8 % 7 == 3
f01 == 0.1
f01 > 0.1
f01 < 0.1
f01*10 == 1
f01 - 0.1
b1 + b2
b1 && b2
b1 || b2
!b1
b1 == b2
b1 * MET_pt
b1 == 1
exp(MET_pt*20)
exp(-MET_pt*20)
exp(x*300)
tan(x)
asinh(x)
acosh(x)
acosh(MET_pt)
atanh(genWeight)
atan(x)
atan2(x, 0)
atan2(0, 0)
sinh(x)
cosh(x)
tanh(x)
fmod(MET_pt, 7)
fmod(-MET_pt, 7)
pow(x, 2)
pow(x, 0.5)
pow(0, -1)
x^0.5
x^-1
x^2
(x)^2
-x^2
2^-nJet
x^2^2
2*x^2
x**2
2**nJet**2
sq(x)
ceil(x)
floor(x)
round(x)
TMath::Nint(x)
TMath::Floor(x)
TMath::Ceil(x)
TMath::Log(x)
TMath::Log10(MET_pt)
TMath::Sqrt(x)
TMath::ACos(genWeight)
TMath::Exp(x)
TMath::ATan2(x, genWeight)
TMath::Hypot(x, genWeight)
TMath::Even(nJet)
TMath::Odd(nJet)
TMath::Sign(1., x)
TMath::Prob(MET_pt, 5)
TMath::DegToRad()*x
TMath::RadToDeg()*x
TMath::TwoPi()
TMath::IsNaN(x)
TVector2::Phi_mpi_pi(x*3)
pi*x
pi
min(nJet, 2)
max(nJet, 2)
min(x, genWeight)
max(x, genWeight)
abs(i8)
abs(x)
fabs(x)
sign(x)
int(x)
int(x*10)/10
int(x*10)%3
int(-x)
1e3*x
1.e-3*x
.5*x
0x10 & flags
flags & 0x10
flags & 4 && flags & 2
flags & 4 || nJet > 3
nJet > 2 & nMuon > 1
nJet > 2 | nMuon > 1
flags | 1
flags == 4 | flags == 5
(flags & (1<<3)) != 0
1<<3
1<<nJet
(nJet > 2) == b1
nJet>=2&&nMuon>=1||MET_pt>50
!(nJet>=2)&&b1
!nJet
!nJet+1
!(nJet)+1
-nJet+2
nJet*-1
nJet--1
nJet-(-1)
2-nJet-1
2/nJet/2
2*nJet/2*nMuon
nJet+nMuon*2-1
nJet>2?1:0
nJet>3 ? 3 : nJet>2 ? 2 : 1
(nJet>2 ? 10 : 20) + 1
nJet>2 ? 10 : 20 + 1
b1||b2 ? 1 : 0
b1 ? x : genWeight
genWeight*(nJet>2)*(MET_pt>20)
(nJet>2)*2 + (nMuon>1)*3
x > 0 ? sqrt(x) : -1
Sum$(Jet_pt>30 && abs(Jet_eta)<2.4)
Sum$(Jet_pt>30 && abs(Jet_eta)<2.4)>=2
Sum$(Jet_pt*(Jet_pt>30))
Sum$(Jet_u8)
Sum$(Jet_tight)
Sum$(!Jet_tight)
Sum$(Jet_jetId==6)
Sum$(Jet_jetId&2)
Sum$((Jet_jetId&2)!=0)
Sum$(Jet_jetId%2)
Sum$(Jet_jetId/2)
Sum$(Jet_pt>Jet_pt[0])
Sum$(Jet_pt - Jet_pt[0])
Sum$(abs(Jet_eta)<2.4)>1 && nMuon>0
Sum$(Jet_f32==0.1)
Sum$(Jet_f32>0.1)
Sum$(Jet_charge)
Sum$(Muon_pt>20)+Sum$(Electron_pt>20)
Sum$(Jet_pt)/Sum$(Jet_mass)
Sum$(Jet_pt)/nJet
Sum$(log(Jet_pt))
Sum$(exp(-Jet_pt))
sqrt(Sum$(Jet_pt*cos(Jet_phi))^2+Sum$(Jet_pt*sin(Jet_phi))^2)
Length$(v3)
Length$(Muon_pt)+Length$(Electron_pt)
Max$(Jet_pt*(abs(Jet_eta)<1))
Max$(-Jet_pt)
Max$(Jet_jetId)
Min$(Jet_pt)
Min$(Jet_pt*(Jet_eta>0))
MinIf$(Jet_pt, Jet_eta>0)
MaxIf$(Jet_pt, Jet_eta>0)
MaxIf$(Jet_pt, Jet_tight)
MaxIf$(Jet_pt, Jet_pt<0)
MinIf$(Jet_pt, Jet_pt<0)
MaxIf$(Jet_eta, Jet_pt==Max$(Jet_pt))
Max$(Jet_pt)-Min$(Jet_pt)
Alt$(Jet_pt[0], 0)
Alt$(Jet_pt[1], -99)
Alt$(Jet_pt[9], MET_pt)
Alt$(Jet_pt[0]-Jet_pt[1], -1)
Alt$(Jet_pt[0],0)+Alt$(Jet_pt[1],0)
Jet_pt[0]
Jet_pt[1]
Jet_pt[0]/Jet_pt[1]
Jet_pt[0]+Jet_eta
Jet_pt+Jet_eta
Jet_pt+MET_pt
Jet_pt>MET_pt
Jet_pt^2
Jet_pt/Jet_eta
Jet_pt%7
Jet_jetId/2
Jet_jetId%3
-Jet_jetId%3
Jet_jetId<<1
Jet_jetId&6
Jet_tight*Jet_pt
sqrt(-Jet_pt)
Jet_pt>30?Jet_pt:0
nJet>2?Jet_pt:0
nJet>2?Jet_pt[0]:0
v3
v3[0]
v3[1]+v3[2]
v3[nJet%3]
Sum$(v3)
Max$(v3)
v3*v3
v3+nJet
Sum$(v3>0)
event%2==0
event%10<5
(event*7+3)%5
run==1
MET_phi>pi/2
cos(MET_phi-Jet_phi)
TMath::Abs(Jet_eta)
TMath::Max(x, genWeight)
TMath::Max(1, 2)
TMath::Power(x, 2)
TMath::Gaus(x, 0, 2)
ROOT::VecOps::DeltaPhi(1., 3.)
exp(x * 300)
""".strip().splitlines()  # fmt: skip

DRAW_CUTS = """
nJet >= 2 && MET_pt > 20
MET_pt / nMuon > 10
log(x) > -1
sqrt(x) > 1
x % 2 == 1
Jet_pt[0] > 40
Jet_pt[0] > 40 || MET_pt > 10
nJet < 1 || Jet_pt[0] > 40
!(Jet_pt[1] > 40)
nJet > 0 ? Jet_pt[0] > 30 : 1
Jet_pt[2] > 20 && Jet_pt[0] > 30
Alt$(Jet_pt[2], 0) > 20
Sum$(Jet_pt > 30) > 1
Jet_pt > 40
Jet_pt > 40 && Jet_eta > 0
Jet_pt > 40 && MET_pt > 20
Max$(Jet_pt) > 40
Max$(Jet_pt) < 40
nJet > 0 && Jet_pt[nJet - 1] > 30
Muon_charge[0] * Muon_charge[1] < 0
abs(Jet_eta[0] - Jet_eta[1]) > 1
Length$(Jet_pt)
nJet
!Jet_tight
Jet_f32==0.1
Jet_pt
MET_pt>20
x
f01==0.1
Jet_pt>30||nMuon>1
!(Jet_pt>30)
!Jet_pt
Jet_pt[0]>30&&Jet_pt[1]>20||nMuon>1
nMuon>1||Jet_pt[0]>30
(nMuon>1)+(Jet_pt[0]>30)
Jet_pt[0]>30 ? 1 : 0
Jet_pt[0]>30 ? 0 : 1
nJet<1 ? 1 : Jet_pt[0]>30
Alt$(Jet_pt[0],0)>30||nMuon>1
Sum$(Jet_pt>30)
Sum$(Jet_pt>30)-1
Max$(Jet_pt)>30
Min$(Jet_pt)<30
MinIf$(Jet_pt, Jet_eta>0)>20
MaxIf$(Jet_pt, Jet_eta>0)>20
Max$(Jet_pt*(Jet_eta>0))>20
Length$(Jet_pt)>2
Jet_tight
Jet_tight&&Jet_pt>30
Jet_jetId&2
genWeight
-genWeight>0
genWeight*(nJet>2)
v3>1
v3[0]>0
v3[0]>0&&v3[1]>0
Jet_pt>Jet_pt[0]
Jet_pt<Jet_pt[0]
Jet_pt[1]<Jet_pt[0]
abs(Jet_eta)<1&&Jet_pt>Max$(Jet_pt)-1
flags&4
(flags&4)&&nJet
Sum$(Jet_pt>30&&abs(Jet_eta)<2)==0
nJet==0||Max$(Jet_pt)<40
Jet_eta[0]*Jet_eta[1]<0
Jet_pt/0
1/x
sqrt(x)>1
log(x)
b1
b1==b2
!b1&&!b2
Jet_pt+Jet_eta>30
""".strip().splitlines()

PYTHON = """
nJet >= 2
(nJet >= 2) & (MET_pt > 20)
(nJet >= 2) | ~(MET_pt > 20)
~HLT_IsoMu24
np.logical_and(nJet >= 2, MET_pt > 20)
np.logical_or(nJet >= 2, MET_pt > 20)
np.logical_not(nJet >= 2)
np.logical_xor(nJet >= 2, MET_pt > 20)
np.where(nJet > 2, MET_pt, -1)
np.abs(genWeight)
np.sign(genWeight)
np.sqrt(MET_pt)
np.log(MET_pt)
np.hypot(genWeight, 2)
np.clip(genWeight, -0.5, 0.5)
np.maximum(genWeight, 0.5)
np.minimum(genWeight, nJet)
np.mod(nJet, 3)
np.mod(genWeight, 0.3)
np.power(MET_pt, 2)
np.arctan2(genWeight, 2)
np.isnan(x)
np.nan_to_num(x, nan=-1)
np.round(genWeight)
np.floor(genWeight)
np.exp(-MET_pt / 30)
np.pi * nJet
np.deg2rad(MET_phi)
np.float32(genWeight)
np.square(genWeight)
np.cosh(MET_phi)
np.bitwise_and(flags, 6)
np.add(nJet, nMuon)
np.greater(nJet, nMuon)
nJet**2
nJet // 2
nJet / 2
flags & 6
flags >> 2
1.5 * MET_pt - 2
ak.num(Jet_pt)
ak.num(Jet_pt, axis=1)
ak.num(Jet_pt[Jet_pt > 30])
ak.num(Jet_pt[Jet_pt > 30], axis=1) >= 2
ak.sum(Jet_pt, axis=1)
ak.sum(Jet_pt, axis=-1)
ak.sum(Jet_pt > 30, axis=1)
ak.sum(Jet_pt[Jet_pt > 30], axis=1)
ak.sum((Jet_pt > 30) & (abs(Jet_eta) < 2.4), axis=1)
ak.any(Jet_pt > 60, axis=1)
ak.all(Jet_pt > 20, axis=1)
ak.any((Jet_pt > 60) & Jet_tight, axis=1)
ak.count(Jet_pt, axis=1)
ak.count_nonzero(Jet_pt > 30, axis=1)
ak.prod(Jet_btag, axis=1)
ak.max(Jet_pt, axis=1)
ak.min(Jet_pt, axis=1)
ak.max(abs(Jet_eta), axis=-1)
ak.mean(Jet_pt, axis=1)
ak.std(Jet_pt, axis=1)
ak.var(Jet_pt, axis=1)
ak.argmax(Jet_pt, axis=1)
ak.firsts(Jet_pt)
ak.fill_none(ak.firsts(Jet_pt), 0)
ak.fill_none(ak.max(Jet_pt, axis=1), -1)
ak.sort(Jet_pt, axis=1)
ak.sort(Jet_pt, ascending=False)
ak.argsort(Jet_pt)
ak.argsort(Jet_pt, axis=1, ascending=False)
Jet_pt[ak.argsort(Jet_pt)]
Jet_eta[ak.argsort(Jet_pt, ascending=False)]
Jet_eta[ak.argsort(-Jet_pt, axis=1)]
Jet_eta[ak.argmax(Jet_pt, axis=1, keepdims=True)]
ak.firsts(Jet_eta[ak.argmax(Jet_pt, axis=1, keepdims=True)])
ak.firsts(Jet_eta[ak.argsort(Jet_pt, ascending=False)])
Jet_pt[:, :2]
Jet_pt[:, ::-1]
ak.sum(Jet_pt[:, :2], axis=1)
Jet_pt[Jet_pt > 30][:, :1]
Jet_pt[Jet_tight]
Jet_pt[Jet_tight * (Jet_pt > 30)]
Jet_pt[~Jet_tight]
ak.pad_none(Jet_pt, 3)[:, 2]
ak.pad_none(Jet_pt, 3, clip=True)
ak.fill_none(ak.pad_none(Jet_pt, 4, clip=True), 0)
ak.fill_none(ak.pad_none(Jet_pt, 4, axis=1, clip=True), -9)
ak.concatenate([Muon_pt, Electron_pt], axis=1)
ak.sort(ak.concatenate([Muon_pt, Electron_pt], axis=1), ascending=False)
ak.local_index(Jet_pt)
ak.local_index(Jet_pt, axis=1)
ak.where(Jet_pt > 30, Jet_pt, 0)
ak.ones_like(Jet_pt)
ak.zeros_like(Jet_pt)
ak.is_none(ak.firsts(Jet_pt))
ak.drop_none(ak.pad_none(Jet_pt, 3))
np.cosh(Jet_eta) * Jet_pt
Jet_pt - MET_pt
Jet_pt * np.cos(Jet_phi - MET_phi)
np.sqrt(Jet_pt**2 + Jet_mass**2)
abs(Jet_eta) < 2.4
(Jet_pt > 30) & (abs(Jet_eta) < 2.4)
-Jet_eta
Jet_jetId & 2
Jet_jetId // 2
Jet_jetId == 6
""".strip().splitlines()

REFUSED = {
    "Jet_pt[Jet_jetId]": r"write x\[i != 0\] for the one, or Take\(x, i\)",
    "Sum(Jet_pt[Jet_jetId])": r"Take\(x, i\)",
    "Jet_pt[Argsort(Jet_pt)]": r"Take\(x, i\)",
    "Jet_pt[Nonzero(Jet_tight)]": r"Take\(x, i\)",
    "Jet_pt[Muon_jetIdx]": r"Take\(x, i\)",
    "Jet_pt[nJet > 2]": r"element 0 or 1",
    "deltaR(1, 2, 3, 4)": r"DeltaR\(\.\.\.\) for ROOT's order",
    "deltaPhi(1, 2)": r"write DeltaPhi",
    "float(genWeight)": r"write float32\(x\) or \(float\)x, or double\(x\)",
    "nJet ^ 2": r"write \*\* or pow",
    "Sum(Jet_pt > 30 == true) > 1": r"\(a > b\) == c in C\+\+",
    "MET_pt == MET_phi != x": r"a > b && b == c in Python",
    "ak.sum(Jet_pt)[0]": r"an index needs a list",
    "ak.sum(Jet_pt, axis=0)": r"which is axis=1",
    "ak.sum(Jet_pt, axis=None)": r"which is axis=1",
    "Jet_pt > 30 &": r"expected a value",
    "Jet_pt[0.5]": r"whole number",
    "Map(Jet_pt, f)": r"functions as arguments",
    "Filter(Jet_pt, f)": r"write x\[condition\]",
    "ak.combinations(Jet_pt, 2)": r"Combinations\(x, 2\)",
    "np.std(Jet_pt, ddof=1)": r"write StdDev",
    "rdfentry_ < 100": r"identifies events",
    "Entry$ < 100": r"identifies events",
    "Take(Jet_pt, 9)": r"write x\[:9\]",
    "Sum$(Jet_pt * (Iteration$ == 0))": r"local_index",
    "~Jet_u8[0]": r"say which bits are meant, e.g. ~x & 255",
    "~u64": r"say which bits are meant",
    "Range(3)": r"local_index",
    "Drop(Jet_pt, {0})": r"x\[condition\]",
    "Intersect(Jet_jetId, Jet_jetId)": r"write x\[",
    "ROOT::Math::PtEtaPhiMVector(1, 2, 3).M()": r"PtEtaPhiMVector takes 4 numbers, not 3",
    "ROOT::Math::PtEtaPhiMVector(1, 2, 3, 4).Ptt()": r"no method Ptt\(\); nearest: 'Pt'",
    "ROOT::Math::PtEtaPhiMVector(1, 2, 3, 4) > 3": r"numbers are needed here",
    "MET_pt.Pt()": r"there is no function 'MET_pt.Pt'|not a vector",
    "Sum<float>(Jet_pt)": r"write Sum\(...\) without <float>",
    "Jet_pt[]": r"write x",
    "{1, 2}": r"expected a value",
    "Sum({Jet_pt, Muon_pt})": r"made of numbers, not of lists",
    "unsigned(-nJet - 1)": r"does not fit into uint32",
}

DRAW_REFUSED = {
    "(int)x": r"write int\(x\)",
    "(int)x % 2": r"write int\(x\)",
    "i8 << 2": r"multiply or divide by a power of 2",
    "Sum$(i8 >> 1 > 0)": r"multiply or divide by a power of 2",
    "Alt$(Jet_pt, 0)": r"take an element first",
    "Jet_pt * (Iteration$ == 0)": r"local_index",
    "nJet > 2 == b1": r"write a < b && b < c",
    "Jet_pt * Muon_pt": r"lists of different lengths",
    "Max$(MET_pt)": r"^max\(\) of one argument",
}
"""Texts for TTree::Draw, that mean something else there than they say, or depend on the entry."""
