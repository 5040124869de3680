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
    "unsigned(-nJet - 1)": r"does not fit into uint32",
}
